//! Items by token. A token is never used twice, because an event for its last owner may still be pending.

use std::collections::HashMap;

use super::Token;

/// A set of items that each own a token.
#[derive(Debug)]
pub struct Slots<T> {
    items: HashMap<Token, T>,
    next: usize,
}

impl<T> Slots<T> {
    /// Creates an empty set, whose tokens start at `first`.
    pub fn new(first: Token) -> Self {
        Self { items: HashMap::new(), next: first.0 }
    }

    /// Returns a token that was not used before.
    pub fn token(&mut self) -> Token {
        let token = Token(self.next);
        self.next += 1;
        token
    }

    /// Inserts an item under its token.
    pub fn insert(&mut self, token: Token, item: T) {
        self.items.insert(token, item);
    }

    /// Returns the item of a token; `None` once the item was removed.
    pub fn get_mut(&mut self, token: Token) -> Option<&mut T> {
        self.items.get_mut(&token)
    }

    /// Removes an item.
    pub fn remove(&mut self, token: Token) -> Option<T> {
        self.items.remove(&token)
    }

    /// Returns the number of items.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Tells whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Returns all tokens, oldest first.
    pub fn tokens(&self) -> Vec<Token> {
        let mut tokens: Vec<_> = self.items.keys().copied().collect();
        tokens.sort_unstable();
        tokens
    }

    /// Returns all items, in no order.
    pub fn items(&self) -> impl Iterator<Item = &T> {
        self.items.values()
    }

    /// Returns an item that satisfies `wanted`.
    pub fn find(&mut self, wanted: impl Fn(&T) -> bool) -> Option<(Token, &mut T)> {
        self.items.iter_mut().find(|(_, item)| wanted(item)).map(|(token, item)| (*token, item))
    }
}
