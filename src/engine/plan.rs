//! The plan.
#[derive(Debug)]
pub struct Plan;
#[derive(Debug)]
pub struct History;
#[derive(Debug)]
pub struct Situation;
