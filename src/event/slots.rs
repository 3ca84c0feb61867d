//! Items by token. The reactor hands out no token twice, so an event for an item that has gone finds nothing.

use std::collections::HashMap;

use super::Token;

/// A set of items that each own a token.
#[derive(Debug)]
pub struct Slots<T>(HashMap<Token, T>);

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T> Slots<T> {
    /// Inserts an item under its token.
    pub fn insert(&mut self, token: Token, item: T) {
        self.0.insert(token, item);
    }

    /// Returns the item of a token; `None` once the item was removed.
    pub fn get_mut(&mut self, token: Token) -> Option<&mut T> {
        self.0.get_mut(&token)
    }

    /// Removes an item.
    pub fn remove(&mut self, token: Token) -> Option<T> {
        self.0.remove(&token)
    }

    /// Returns the number of items.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns all tokens, oldest first.
    pub fn tokens(&self) -> Vec<Token> {
        let mut tokens: Vec<_> = self.0.keys().copied().collect();
        tokens.sort_unstable();
        tokens
    }

    /// Returns all items, in no order.
    pub fn items(&self) -> impl Iterator<Item = &T> {
        self.0.values()
    }

    /// Returns an item that satisfies `wanted`.
    pub fn find(&mut self, wanted: impl Fn(&T) -> bool) -> Option<(Token, &mut T)> {
        self.0.iter_mut().find(|(_, item)| wanted(item)).map(|(token, item)| (*token, item))
    }
}
