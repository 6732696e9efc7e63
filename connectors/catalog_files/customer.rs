//! `[[customer]]` and `[[subscription]]`.

use toml::value::Datetime;
use trueup_model::calendar;
use trueup_model::catalog::{Customer, Subscription};
use trueup_model::grain::Micros;

use super::moment::moment;
use super::place::Problem;
use super::section::Section;

pub(super) fn customer(section: &mut Section<'_>, id: String) -> Result<Customer, Problem> {
    let zone = section.text("zone")?.unwrap_or("UTC").to_owned();
    calendar::grain_step(&zone).map_err(|error| section.problem_with("zone", error.to_string()))?;
    Ok(Customer {
        name: section.text("name")?.unwrap_or(&id).to_owned(),
        subjects: section.texts("subjects")?.unwrap_or_else(|| vec![id.clone()]),
        zone,
        id,
    })
}

/// A subscription whose dates wait for the time zone of its customer.
pub(super) struct WrittenSubscription {
    id: String,
    customer: String,
    plan: String,
    starts_at: WrittenMoment,
    ends_at: Option<WrittenMoment>,
}

/// A date or time, and the problem with it, should there be one.
struct WrittenMoment {
    written: Datetime,
    key: &'static str,
    problem: Problem,
}

pub(super) fn subscription(section: &mut Section<'_>, id: String) -> Result<WrittenSubscription, Problem> {
    let customer = section.text("customer")?;
    let plan = section.text("plan")?;
    let starts_at = written_moment(section, "starts_at")?;
    Ok(WrittenSubscription {
        id,
        customer: section.need("customer", customer, "name who subscribes")?.to_owned(),
        plan: section.need("plan", plan, "name what is subscribed to")?.to_owned(),
        starts_at: section.need("starts_at", starts_at, "write the date of its first day")?,
        ends_at: written_moment(section, "ends_at")?,
    })
}

fn written_moment(section: &mut Section<'_>, key: &'static str) -> Result<Option<WrittenMoment>, Problem> {
    let Some(written) = section.datetime(key)? else {
        return Ok(None);
    };
    let problem = section.problem_with(key, format!("`{key}`"));
    Ok(Some(WrittenMoment { written, key, problem }))
}

impl WrittenSubscription {
    /// Who subscribes.
    pub fn customer(&self) -> &str {
        &self.customer
    }

    /// The subscription, its dates being those of `zone`; none: nobody knows the customer.
    pub fn within(&self, zone: Option<&str>) -> Result<Subscription, Problem> {
        let instant = |moment: &WrittenMoment| moment.within(zone, &self.customer);
        Ok(Subscription {
            starts_at: instant(&self.starts_at)?,
            ends_at: self.ends_at.as_ref().map(instant).transpose()?,
            id: self.id.clone(),
            customer: self.customer.clone(),
            plan: self.plan.clone(),
        })
    }
}

impl WrittenMoment {
    fn within(&self, zone: Option<&str>, customer: &str) -> Result<Micros, Problem> {
        let needs_zone = self.written.offset.is_none();
        let instant = match zone {
            None if needs_zone => Err(format!(
                "the time zone of customer '{customer}' is not known, as no [[customer]] with this id could be read; define it, or write {} as a time with its offset",
                self.key
            )),
            zone => moment(self.written, zone.unwrap_or("UTC")),
        };
        instant
            .map_err(|error| Problem { message: format!("{}: {error}", self.problem.message), ..self.problem.clone() })
    }
}
