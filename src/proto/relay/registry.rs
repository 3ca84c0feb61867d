//! The connected clients, by number and by name.

use std::{collections::HashMap, rc::Rc};

/// The number of a client. No other client ever has the same.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Id {
    index: u32,
    generation: u32,
}

impl Id {
    /// Returns the index of the client, which is used again after the client has left.
    pub fn index(self) -> usize {
        self.index as usize
    }
}

/// All clients, and the names that they have registered.
#[derive(Debug)]
pub(super) struct Registry<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    names: HashMap<Rc<[u8]>, Id>,
}

/// An index, and the client that has it.
#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    client: Option<T>,
}

impl<T> Registry<T> {
    /// Creates a registry without clients.
    pub fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), names: HashMap::new() }
    }

    /// Returns the number of clients.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Adds a client, and returns its number.
    pub fn insert(&mut self, client: T) -> Id {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, client: None });
            u32::try_from(self.slots.len() - 1).expect("there are fewer descriptors than that")
        });
        let slot = &mut self.slots[index as usize];
        slot.client = Some(client);
        Id { index, generation: slot.generation }
    }

    /// Returns a client, unless it has left.
    pub fn get(&self, id: Id) -> Option<&T> {
        // Every `Id` comes from `insert`, and slots are never removed.
        let slot = &self.slots[id.index()];
        slot.client.as_ref().filter(|_| slot.generation == id.generation)
    }

    /// Returns a client, unless it has left.
    pub fn get_mut(&mut self, id: Id) -> Option<&mut T> {
        let slot = &mut self.slots[id.index()];
        slot.client.as_mut().filter(|_| slot.generation == id.generation)
    }

    /// Removes a client. Its index may be used again, with another generation.
    pub fn remove(&mut self, id: Id) -> Option<T> {
        self.get(id)?;
        let slot = &mut self.slots[id.index()];
        slot.generation = slot.generation.wrapping_add(1);
        // Events and queues may still hold the old number: it must find no other client.
        self.free.push(id.index);
        slot.client.take()
    }

    /// Returns the numbers of all clients.
    pub fn ids(&self) -> impl Iterator<Item = Id> {
        let taken = self.slots.iter().zip(0..).filter(|(slot, _)| slot.client.is_some());
        taken.map(|(slot, index)| Id { index, generation: slot.generation })
    }

    /// Returns the client that has a name.
    pub fn named(&self, name: &[u8]) -> Option<Id> {
        self.names.get(name).copied()
    }

    /// Returns the number of names.
    pub fn names(&self) -> usize {
        self.names.len()
    }

    /// Assigns a name to a client, and takes it from the one that had it.
    pub fn assign(&mut self, name: Rc<[u8]>, id: Id) {
        self.names.insert(name, id);
    }

    /// Frees a name if this client has it.
    pub fn release(&mut self, name: &[u8], id: Id) {
        // Another client may have taken the name over.
        if self.named(name) == Some(id) {
            self.names.remove(name);
        }
    }
}
