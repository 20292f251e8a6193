//! City, region and country at the end of a statement text: taken only where it is safe.
//!
//! Two capitals at the end of a text that a network cut may be the beginning of a word (`IN` of `INC`), so
//! a region counts only behind a city of the list, before a country, or in a text too long to have been cut.

use super::{parts::Place, words};

/// The card networks' field for merchant and city is cut here at the latest.
const CUT_AT_MOST: usize = 25;

/// Takes the place off the end of the words; at least one word is left.
pub(super) fn take_place(words: &mut Vec<&str>, raw: &str) -> Option<Place> {
    let at_end = words.last().is_some_and(|word| raw.ends_with(word));
    let uncut = at_end && raw.chars().count() > CUT_AT_MOST;
    let mut place = Place::default();
    let mut end = words.len();
    if let Some(country) = last(words, end).and_then(words::country) {
        let before = end.checked_sub(2).and_then(|i| words.get(i));
        let region = before.and_then(|word| words::region(word)).is_some_and(|(_, of)| of == country);
        if region
            || (city_words(words, end - 1) > 0 && words::region(words[end - 1]).is_none())
            || (uncut && words[end - 1].len() == 3)
        {
            place.country = Some(country.to_owned());
            end -= 1;
        }
    }
    if let Some((region, country)) = last(words, end).and_then(words::region)
        && end >= 2
        && (place.country.is_some() || uncut || city_words(words, end - 1) > 0)
    {
        // `CA` and `DE` at the end of a text: a state or a country. A place, but which can't be told.
        if place.country.is_some() || words::country(region).is_none() {
            place.region = Some(region.to_owned());
            place.country.get_or_insert(country.to_owned());
        }
        end -= 1;
    }
    let city = city_words(words, end);
    if city > 0 && city < end {
        place.city = Some(words[end - city..end].join(" "));
        end -= city;
    }
    if end == 0 {
        return None;
    }
    words.truncate(end);
    (place != Place::default()).then_some(place)
}

fn last<'a>(words: &[&'a str], end: usize) -> Option<&'a str> {
    words.get(end.checked_sub(1)?).copied()
}

/// How many words before `end` are a city that stands on its own: not the city that something is *of*.
fn city_words(words: &[&str], end: usize) -> usize {
    let city = words::city_at_end(&words[..end]);
    let before = end.checked_sub(city + 1).map_or("", |i| words[i]);
    let owned =
        ["OF", "DE", "IN", "AT", "THE", "NEW", "VILLE", "UNIVERSITY", "UNIV", "CITY", "CITYOF", "GREATER", "DOWNTOWN"];
    if owned.iter().any(|word| word.eq_ignore_ascii_case(before)) { 0 } else { city }
}
