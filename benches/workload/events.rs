//! A month of usage events, each a pure function of its number and of how many there are.
//!
//! 10,000 customers with Zipf weights of exponent 1.1, 5 event types, 60 combinations of
//! dimensions, 30 days. Of the events 2 % are exact duplicates, 1 % corrections, 0.2 %
//! retractions, and 5 % arrive late by up to seven days. Event `n` and those after it come when
//! the month is over: they are what a live system would still receive.
//!
//! Law: the events never change. The totals in `reference` and every figure in
//! `benches/results` depend on each bit of them.

/// Seconds of the month.
pub const MONTH_SECONDS: u32 = 30 * 86_400;
/// How many customers there are.
pub const CUSTOMERS: u32 = 10_000;
/// The event types; an event's `meter` is a place in here.
pub const TYPES: [&str; 5] = ["api.request", "storage.gb", "compute.cpu", "peak.seats", "active.users"];
/// Values of the dimension `region`.
pub const REGIONS: [&str; 4] = ["eu-west", "eu-north", "us-east", "ap-south"];
/// Values of the dimension `plan`.
pub const PLANS: [&str; 3] = ["free", "pro", "enterprise"];
/// Values of the dimension `model`.
pub const MODELS: [&str; 5] = ["m-small", "m-base", "m-large", "m-turbo", "m-vision"];
/// How many combinations of dimensions there are.
pub const CELLS: usize = REGIONS.len() * PLANS.len() * MODELS.len();
/// How many users there are.
pub const USERS: u32 = 5_000;

/// A parsed event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Who it is: 128 random bits.
    pub key: [u64; 2],
    /// Its quantity in millionths; always whole thousandths.
    pub quantity: i64,
    /// When it happened, in seconds since the month began.
    pub second: u32,
    /// Whose it is.
    pub customer: u32,
    /// Who did it.
    pub user: u32,
    /// Which statement of the event this is.
    pub revision: u16,
    /// Its type.
    pub meter: u8,
    /// Whether it takes the event back.
    pub retract: bool,
    /// Places in `REGIONS`, `PLANS` and `MODELS`.
    pub dimensions: [u8; 3],
    /// Which of eight services sent it.
    pub source: u8,
}

impl Event {
    /// Bytes of an event in a file.
    pub const BYTES: usize = 48;

    /// Its dimensions as one number below `CELLS`.
    pub fn cell(&self) -> usize {
        let [region, plan, model] = self.dimensions.map(usize::from);
        region + REGIONS.len() * (plan + PLANS.len() * model)
    }

    /// It as in a file: little-endian fields in the order of their size.
    pub fn to_bytes(&self) -> [u8; Event::BYTES] {
        let mut bytes = [0; Event::BYTES];
        bytes[0..8].copy_from_slice(&self.key[0].to_le_bytes());
        bytes[8..16].copy_from_slice(&self.key[1].to_le_bytes());
        bytes[16..24].copy_from_slice(&self.quantity.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.second.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.customer.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.user.to_le_bytes());
        bytes[36..38].copy_from_slice(&self.revision.to_le_bytes());
        bytes[38] = self.meter;
        bytes[39] = u8::from(self.retract);
        bytes[40..43].copy_from_slice(&self.dimensions);
        bytes[43] = self.source;
        bytes
    }

    /// The event that a file holds as these bytes.
    pub fn from_bytes(bytes: &[u8; Event::BYTES]) -> Event {
        let (words, _) = bytes.as_chunks();
        let (halves, _) = bytes[24..36].as_chunks();
        let [second, customer, user] = [halves[0], halves[1], halves[2]].map(u32::from_le_bytes);
        Event {
            key: [u64::from_le_bytes(words[0]), u64::from_le_bytes(words[1])],
            quantity: i64::from_le_bytes(words[2]),
            second,
            customer,
            user,
            revision: u16::from_le_bytes([bytes[36], bytes[37]]),
            meter: bytes[38],
            retract: bytes[39] == 1,
            dimensions: [bytes[40], bytes[41], bytes[42]],
            source: bytes[43],
        }
    }
}

/// The events of a month that has `count` of them. Holds 100 kB, whatever their number.
pub struct Events {
    count: u64,
    customers: Zipf,
}

/// What an event is to those before it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Base,
    Duplicate,
    Correction,
    Retraction,
}

impl Events {
    /// A month of so many events.
    pub fn new(count: u64) -> Events {
        Events { count, customers: Zipf::new() }
    }

    /// How many there are before the month is over.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Event number `index`, counted from 0.
    pub fn at(&self, index: u64) -> Event {
        let draw = mix(index ^ 0x5EED);
        match role(index) {
            Role::Base => self.base(index),
            Role::Duplicate => self.base(base_before(index - 1 - draw % (index - 1).min(100_000))),
            Role::Correction => self.correction(base_before(draw % index), 2),
            Role::Retraction => Event { revision: 3, retract: true, ..self.base(base_before(draw % index)) },
        }
    }

    /// Event number `index` as it would be said anew under a greater revision.
    pub fn corrected(&self, index: u64, revision: u16, quantity: i64) -> Event {
        Event { revision, quantity, ..self.base(base_before(index)) }
    }

    fn base(&self, index: u64) -> Event {
        let draw = mix(index.wrapping_mul(0xD134_2543_DE82_EF95) ^ 0xBA5E);
        let (delays, places, amounts) = (mix(draw ^ 1), mix(draw ^ 2), mix(draw ^ 3));
        let arrival = u128::from(index) * u128::from(MONTH_SECONDS) / u128::from(self.count);
        let arrival = arrival.min(u128::from(MONTH_SECONDS) - 1) as u32;
        let is_late = draw % 100 < 5;
        let delay = if is_late { delays % (7 * 86_400) } else { delays % 60 } as u32;
        let cell = (places >> 32) % CELLS as u64;
        Event {
            key: [mix(draw ^ 4), mix(draw ^ 5)],
            quantity: ((amounts % 1_000_000) as i64 + 1) * 1000,
            second: arrival.saturating_sub(delay),
            customer: self.customers.draw(mix(draw ^ 6)),
            user: (mix(draw ^ 7) % u64::from(USERS)) as u32,
            revision: 1,
            meter: (places % TYPES.len() as u64) as u8,
            retract: false,
            dimensions: [(cell % 4) as u8, (cell / 4 % 3) as u8, (cell / 12) as u8],
            source: (places >> 20) as u8 % 8,
        }
    }

    fn correction(&self, index: u64, revision: u16) -> Event {
        let quantity = (mix(index ^ (u64::from(revision) << 48)) % 1_000_000) as i64 + 1;
        Event { revision, quantity: quantity * 1000, ..self.base(index) }
    }
}

fn role(index: u64) -> Role {
    if index < 1000 {
        return Role::Base;
    }
    match mix(index ^ 0xC_1A55) % 10_000 {
        0..=199 => Role::Duplicate,
        200..=299 => Role::Correction,
        300..=319 => Role::Retraction,
        _ => Role::Base,
    }
}

/// The last event up to `index` that is not about another.
pub fn base_before(mut index: u64) -> u64 {
    while role(index) != Role::Base {
        index -= 1;
    }
    index
}

/// The finalizer of SplitMix64, with its step.
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Draws customers: number `k` with weight 1/(k+1)^1.1.
struct Zipf {
    /// The share of the customers up to each.
    shares: Vec<f64>,
    /// For each 4096th part of the whole, the first customer that reaches it.
    guide: Vec<u32>,
}

#[expect(clippy::float_arithmetic, reason = "the reference totals are those of this very arithmetic")]
impl Zipf {
    const GUIDES: u32 = 4096;

    fn new() -> Zipf {
        let mut sum = 0.0;
        let mut shares: Vec<f64> = Vec::with_capacity(CUSTOMERS as usize);
        for rank in 1..=CUSTOMERS {
            sum += f64::from(rank).powf(-1.1);
            shares.push(sum);
        }
        shares.iter_mut().for_each(|share| *share /= sum);
        let first = |part: u32| shares.partition_point(|&share| share < f64::from(part) / f64::from(Zipf::GUIDES));
        let guide = (0..Zipf::GUIDES).map(|part| first(part) as u32).collect();
        Zipf { shares, guide }
    }

    fn draw(&self, random: u64) -> u32 {
        let share = (random >> 11) as f64 / (1u64 << 53) as f64;
        let mut customer = self.guide[(share * f64::from(Zipf::GUIDES)) as usize];
        while self.shares[customer as usize] < share {
            customer += 1;
        }
        customer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_events_are_those_of_the_reference() {
        let events = Events::new(1_000_000);
        let mut digest = 0u64;
        for index in (0..1_000_000).step_by(97).chain(1_000_000..1_000_500) {
            let event = events.at(index);
            assert_eq!(Event::from_bytes(&event.to_bytes()), event);
            let bytes = event.to_bytes();
            let (words, _) = bytes.as_chunks();
            digest = words.iter().fold(digest, |digest, word| mix(digest ^ u64::from_le_bytes(*word)));
        }
        assert_eq!(digest, 0xa9bb_a201_008c_8813);
    }
}
