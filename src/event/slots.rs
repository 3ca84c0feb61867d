//! Sessions by token. A token is not used again while an event for its last owner may be on the way.

use std::collections::HashMap;

use super::Token;

/// A set of things that each own a token.
#[derive(Debug)]
pub struct Slots<T> {
    items: HashMap<Token, T>,
    next: usize,
}

impl<T> Slots<T> {
    /// An empty set, whose tokens start at `first`.
    pub fn new(first: Token) -> Self {
        Self { items: HashMap::new(), next: first.0 }
    }

    /// A token that nothing has had before.
    pub fn token(&mut self) -> Token {
        let token = Token(self.next);
        self.next += 1;
        token
    }

    /// Puts an item in the place of its token.
    pub fn insert(&mut self, token: Token, item: T) {
        self.items.insert(token, item);
    }

    /// The item of a token; `None` for a token whose item has gone.
    pub fn get_mut(&mut self, token: Token) -> Option<&mut T> {
        self.items.get_mut(&token)
    }

    /// Takes an item out.
    pub fn remove(&mut self, token: Token) -> Option<T> {
        self.items.remove(&token)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// All tokens, in the order they were given.
    pub fn tokens(&self) -> Vec<Token> {
        let mut tokens: Vec<_> = self.items.keys().copied().collect();
        tokens.sort_unstable();
        tokens
    }

    /// All items.
    pub fn items(&self) -> impl Iterator<Item = &T> {
        self.items.values()
    }

    /// The first item that `wanted` is true of.
    pub fn find(&mut self, wanted: impl Fn(&T) -> bool) -> Option<(Token, &mut T)> {
        self.items.iter_mut().find(|(_, item)| wanted(item)).map(|(token, item)| (*token, item))
    }
}
