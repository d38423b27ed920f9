//! Privacy lists (XEP-0016), as far as they are a block list.
//!
//! Stonechat has XEP-0191 alone. Of the default list, items that deny everything of an address before anything allows
//! are what a block list says; all else would change its meaning and is told.

use super::PRIVACY;
use crate::port::Person;
use crate::port::element::Element;

/// Takes over what of the default list means the same as a block list.
pub(super) fn take(person: &mut Person, query: &Element, tell: &mut dyn FnMut(String)) {
    let default = query.child(PRIVACY, "default").and_then(|default| default.attr("name"));
    for list in query.elements().filter(|list| list.is(PRIVACY, "list")) {
        let name = list.attr("name").unwrap_or_default();
        if Some(name) != default {
            tell(format!("the privacy list {name:?} is not the default one: not taken over"));
            continue;
        }
        let order =
            |item: &&Element| item.attr("order").and_then(|order| order.parse::<u32>().ok()).unwrap_or(u32::MAX);
        let mut items: Vec<&Element> = list.elements().filter(|item| item.is(PRIVACY, "item")).collect();
        items.sort_by_key(order);
        let blocks = |item: &&&Element| {
            item.attr("action") == Some("deny") && item.attr("type") == Some("jid") && item.elements().next().is_none()
        };
        let mut rest = items.iter().skip_while(|item| blocks(item));
        let allows_all = |item: &Element| item.attr("action") == Some("allow") && item.attr("type").is_none();
        if rest.any(|item| !allows_all(item)) {
            tell(format!(
                "the privacy list {name:?} says more than whom to block: only its first items are taken over"
            ));
        }
        for item in items.iter().take_while(|item| blocks(item)) {
            if let Err(why) = person.add_block(item.attr("value").unwrap_or_default()) {
                tell(why);
            }
        }
    }
}
