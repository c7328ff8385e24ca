//! Whether the colours of the style sheet stand out. axe-core looks at no chart, and cannot decide it for text on a gradient.

use std::collections::BTreeMap;

const STYLE: &str = include_str!("console.css");

/// Colours by the names of their properties. `elsewhen` is the ground of a page that shows another moment.
type Colours = BTreeMap<&'static str, &'static str>;

/// What stands between a text and the next closing brace.
fn block(style: &'static str, begin: &str) -> &'static str {
    let (_, rest) = style.split_once(begin).expect("a block");
    rest.split('}').next().expect("its end")
}

fn colours(block: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let properties = block
        .split(';')
        .filter_map(|line| line.trim().strip_prefix("--")?.split_once(": "));
    properties.filter(|(_, value)| value.starts_with('#'))
}

/// The colours for light and for dark.
fn sets() -> [(&'static str, Colours); 2] {
    let (_, dark) = STYLE
        .split_once("(prefers-color-scheme: dark) {")
        .expect("a dark set");
    let of = |root: &'static str, elsewhen: &str| {
        let ground = colours(block(STYLE, elsewhen)).map(|(_, colour)| ("elsewhen", colour));
        colours(block(root, ":root {")).chain(ground).collect()
    };
    [
        ("light", of(STYLE, "\nbody.elsewhen {")),
        ("dark", of(dark, "dark) { body.elsewhen {")),
    ]
}

/// The relative luminance of a colour, by WCAG 2.
fn luminance(colour: &str) -> f64 {
    let part = |at: usize| {
        let value = u8::from_str_radix(&colour[at..at + 2], 16).expect("two digits");
        let part = f64::from(value) / 255.0;
        if part < 0.04 {
            part / 12.92
        } else {
            ((part + 0.055) / 1.055).powf(2.4)
        }
    };
    0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5)
}

fn contrast(one: &str, other: &str) -> f64 {
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

/// The pairs of a colour and a ground that have less contrast than they need.
fn faint(pairs: &[(&str, &str)], least: f64) -> Vec<String> {
    let mut faint = Vec::new();
    for (set, colours) in sets() {
        for (colour, ground) in pairs {
            let reached = contrast(colours[*colour], colours[*ground]);
            if reached < least {
                faint.push(format!("{set}: --{colour} on --{ground} has {reached:.2} : 1"));
            }
        }
    }
    faint
}

fn each_on(colours: &[&'static str], grounds: &[&'static str]) -> Vec<(&'static str, &'static str)> {
    let pairs = colours
        .iter()
        .flat_map(|colour| grounds.iter().map(move |ground| (*colour, *ground)));
    pairs.collect()
}

#[test]
fn text_stands_out_from_every_ground() {
    let states = ["good", "attention", "bad", "neutral"];
    let of_states = ["good-ground", "attention-ground", "bad-ground", "neutral-ground"];
    let of_pages = ["surface", "ground", "elsewhen", "raised"];
    let mut pairs = each_on(&["text", "muted", "accent"], &of_pages);
    pairs.extend(each_on(&["text", "muted", "accent"], &of_states));
    pairs.extend(each_on(&states, &of_pages));
    pairs.extend(states.into_iter().zip(of_states));
    pairs.push(("on-accent", "accent"));
    assert_eq!(faint(&pairs, 4.5), Vec::<String>::new());
}

/// Charts are in cards. The days of the calendar have a ground that says how much happens.
#[test]
fn the_marks_of_charts_stand_out_from_every_ground() {
    let hues = ["c1", "c2", "c3", "c4", "c5", "c6", "c7"];
    let grounds = [
        "surface",
        "ground",
        "neutral-ground",
        "attention-ground",
        "bad-ground",
    ];
    for (set, colours) in sets() {
        let is_hue = |name: &&str| {
            name.strip_prefix('c')
                .is_some_and(|rest| rest.parse::<u8>().is_ok())
        };
        let found: Vec<&str> = colours.keys().copied().filter(is_hue).collect();
        assert_eq!(found, hues, "{set}");
    }
    assert_eq!(faint(&each_on(&hues, &grounds), 3.0), Vec::<String>::new());
}

#[test]
fn contrast_is_that_of_wcag() {
    for (one, other, expected) in [
        ("#000000", "#ffffff", 21.0),
        ("#777777", "#ffffff", 4.48),
        ("#9aa4b2", "#ffffff", 2.52),
    ] {
        let reached = contrast(one, other);
        assert!((reached - expected).abs() < 0.01, "{one} on {other}: {reached}");
    }
}
