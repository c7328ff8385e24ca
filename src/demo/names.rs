//! Random names of businesses, for the demo and the benchmarks.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

const FIRST: [&str; 24] = [
    "Amber", "Bluebird", "Cedar", "Delta", "Elm", "Foundry", "Garnet", "Hazel", "Ivory", "Juniper",
    "Kestrel", "Lantern", "Meadow", "Nordic", "Orchard", "Pepper", "Quarry", "River", "Saffron", "Thistle",
    "Umber", "Velvet", "Willow", "Zephyr",
];
const SECOND: [&str; 16] = [
    "Bakery",
    "Bikes",
    "Books",
    "Brewing",
    "Builders",
    "Dental",
    "Design",
    "Florists",
    "Foods",
    "Garage",
    "Interiors",
    "Labs",
    "Optics",
    "Plumbing",
    "Studio",
    "Tailors",
];

/// A name such as `Amber Bakery`. Names repeat: there are a few hundred.
#[must_use]
pub fn business(rng: &mut StdRng) -> String {
    format!(
        "{} {}",
        FIRST.choose(rng).unwrap_or(&"Amber"),
        SECOND.choose(rng).unwrap_or(&"Bakery")
    )
}
