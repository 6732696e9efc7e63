//! Finds an order in which changes of the catalog that belong together can be made.
//!
//! Law: if the changes can be made one after another in some order, and whichever can be made
//! early does not stand in the way of the others, they are made; changes of the same thing keep
//! their order. So a folder that is good as a whole replaces another, though what one customer
//! gives up and another takes over is written in the wrong order. Two that exchange what they
//! hold must do so in two steps.

use std::collections::BTreeSet;

use trueup_model::catalog::{CatalogChange, CatalogError};

/// Makes all changes by `make`, or tells which could not be made, of those the first, and why.
pub fn make_all(
    changes: Vec<CatalogChange>,
    mut make: impl FnMut(&CatalogChange) -> Result<(), CatalogError>,
) -> Result<(), (usize, CatalogError)> {
    let mut waiting: Vec<(usize, CatalogChange)> = changes.into_iter().enumerate().collect();
    while !waiting.is_empty() {
        let before = waiting.len();
        let (later, refused) = try_each(waiting, &mut make);
        if let Some(refused) = refused
            && later.len() == before
        {
            return Err(refused);
        }
        waiting = later;
    }
    Ok(())
}

/// Makes what can be made; gives the rest, and why the first of it was refused.
#[allow(clippy::type_complexity)]
fn try_each(
    waiting: Vec<(usize, CatalogChange)>,
    make: &mut impl FnMut(&CatalogChange) -> Result<(), CatalogError>,
) -> (Vec<(usize, CatalogChange)>, Option<(usize, CatalogError)>) {
    let mut later: Vec<(usize, CatalogChange)> = Vec::new();
    let mut concerned = BTreeSet::new();
    let mut refused = None;
    for (index, change) in waiting {
        let (kind, name) = change.concerns();
        let thing = (kind, name.to_owned());
        if !concerned.contains(&thing) {
            match make(&change) {
                Ok(()) => continue,
                Err(error) => refused = refused.or(Some((index, error))),
            }
        }
        concerned.insert(thing);
        later.push((index, change));
    }
    (later, refused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use trueup_model::catalog::{Catalog, Customer};
    use trueup_model::dictionary::Dictionary;

    fn customer(id: &str, subject: &str) -> CatalogChange {
        CatalogChange::Customer(Customer {
            id: id.to_owned(),
            name: id.to_owned(),
            zone: "UTC".to_owned(),
            subjects: vec![subject.to_owned()],
        })
    }

    fn outcome(changes: &[CatalogChange]) -> Result<Catalog, usize> {
        let (mut catalog, mut dictionary) = (Catalog::default(), Dictionary::default());
        let mut make = |change: &CatalogChange| catalog.apply(change.clone(), &mut dictionary).map(|_| ());
        [customer("acme", "one"), customer("bolt", "two")].iter().for_each(|change| make(change).unwrap());
        make_all(changes.to_vec(), make).map_err(|(index, _)| index)?;
        Ok(catalog)
    }

    #[test]
    fn what_one_gives_up_another_may_take_whichever_is_written_first() {
        let (gives, takes) = (customer("acme", "three"), customer("bolt", "one"));
        assert!(outcome(&[gives.clone(), takes.clone()]).is_ok());
        assert!(outcome(&[takes, gives]).is_ok());
        assert_eq!(outcome(&[customer("acme", "four"), customer("bolt", "four")]).err(), Some(1));
    }

    #[test]
    fn of_changes_that_cannot_be_made_the_first_is_told() {
        assert_eq!(outcome(&[customer("acme", "two"), customer("bolt", "one")]).err(), Some(0));
    }

    #[test]
    fn changes_of_the_same_thing_keep_their_order() {
        let changes = [customer("bolt", "one"), customer("bolt", "five"), customer("acme", "three")];
        let catalog = outcome(&changes).unwrap();
        assert_eq!(catalog.customers.named("bolt").unwrap().subjects, ["five"]);
    }
}
