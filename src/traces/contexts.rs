//! The trace contexts of recent events, until their changes are published.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use crate::wire::TraceContext;

/// How many events are remembered. The changes of others are published without a trace context.
const MOST: usize = 10_000;

/// An event, by its source and id.
type Key = (Arc<str>, Arc<str>);

/// The newest contexts, by event. In the memory of this process: see `docs/decisions/0021-trace-contexts-are-not-stored.md`.
#[derive(Debug, Default)]
pub(super) struct Contexts(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    contexts: HashMap<Key, TraceContext>,
    /// The oldest first.
    order: VecDeque<Key>,
}

impl Contexts {
    pub fn remember(&self, source: &Arc<str>, id: &Arc<str>, context: TraceContext) {
        let key = (source.clone(), id.clone());
        let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.contexts.insert(key.clone(), context).is_none() {
            remembered.order.push_back(key);
        }
        if remembered.order.len() > MOST
            && let Some(oldest) = remembered.order.pop_front()
        {
            remembered.contexts.remove(&oldest);
        }
    }

    pub fn of(&self, source: &Arc<str>, id: &Arc<str>) -> Option<TraceContext> {
        let remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.contexts.get(&(source.clone(), id.clone())).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_contexts_are_remembered() {
        let contexts = Contexts::default();
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let context = TraceContext::parse(parent, None).unwrap();
        let source: Arc<str> = "/a".into();
        let ids: Vec<Arc<str>> = (0..=MOST).map(|n| n.to_string().into()).collect();
        for id in &ids {
            contexts.remember(&source, id, context.clone());
            contexts.remember(&source, id, context.clone());
        }
        assert_eq!(contexts.of(&source, &ids[0]), None);
        assert_eq!(contexts.of(&source, &ids[1]), Some(context.clone()));
        assert_eq!(contexts.of(&source, &ids[MOST]), Some(context));
        assert_eq!(contexts.0.lock().unwrap().order.len(), MOST);
    }
}
