//! Events as CloudEvents 1.0 in JSON, one to a line, 318 bytes each.

use std::io::{self, Write};

use crate::events::{Event, MODELS, PLANS, REGIONS, TYPES};

/// Writes an event as a line.
pub fn write(event: &Event, to: &mut impl Write) -> io::Result<()> {
    let [region, plan, model] = event.dimensions.map(usize::from);
    let (day, hour) = (event.second / 86_400 + 1, event.second / 3600 % 24);
    let (minute, second) = (event.second / 60 % 60, event.second % 60);
    write!(
        to,
        "{{\"specversion\":\"1.0\",\"id\":\"{:016x}{:016x}\",\"source\":\"/svc/{}\",\"type\":\"{}\",\"subject\":\"cust-{:05}\",",
        event.key[0],
        event.key[1],
        event.source,
        TYPES[usize::from(event.meter)],
        event.customer,
    )?;
    write!(
        to,
        "\"time\":\"2026-06-{day:02}T{hour:02}:{minute:02}:{second:02}Z\",\"datacontenttype\":\"application/json\","
    )?;
    write!(
        to,
        "\"revision\":{},\"retract\":{},\"data\":{{\"quantity\":\"{}.{:03}\",",
        event.revision,
        event.retract,
        event.quantity / 1_000_000,
        event.quantity / 1000 % 1000,
    )?;
    writeln!(
        to,
        "\"region\":\"{}\",\"plan\":\"{}\",\"model\":\"{}\",\"user\":\"u{}\"}}}}",
        REGIONS[region], PLANS[plan], MODELS[model], event.user,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Events;

    #[test]
    fn a_line_is_an_event() {
        let mut line = Vec::new();
        write(&Events::new(1_000_000).at(0), &mut line).expect("memory takes it");
        let expected = r#"{"specversion":"1.0","id":"ce3cf789eebefd76f1075b43dfe27728","source":"/svc/0","type":"peak.seats","subject":"cust-00348","time":"2026-06-01T00:00:00Z","datacontenttype":"application/json","revision":1,"retract":false,"data":{"quantity":"389.191","region":"ap-south","plan":"enterprise","model":"m-small","user":"u3120"}}"#;
        assert_eq!(String::from_utf8(line).expect("it is text"), format!("{expected}\n"));
    }
}
