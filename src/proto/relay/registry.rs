//! Who is connected, by number and by name.

use std::{collections::HashMap, rc::Rc};

/// A client's number. It is not given to anybody else.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Id {
    index: u32,
    generation: u32,
}

impl Id {
    /// The place of the client, which another one may have after it.
    pub fn index(self) -> usize {
        self.index as usize
    }
}

/// All clients, and the names that they have registered.
#[derive(Debug)]
pub(super) struct Registry<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
    names: HashMap<Rc<[u8]>, Id>,
}

#[derive(Debug)]
struct Place<T> {
    generation: u32,
    client: Option<T>,
}

impl<T> Registry<T> {
    pub fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new(), names: HashMap::new() }
    }

    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub fn insert(&mut self, client: T) -> Id {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place { generation: 0, client: None });
            u32::try_from(self.places.len() - 1).expect("there are fewer descriptors than that")
        });
        let place = &mut self.places[index as usize];
        place.client = Some(client);
        Id { index, generation: place.generation }
    }

    pub fn get(&self, id: Id) -> Option<&T> {
        let place = &self.places[id.index()];
        place.client.as_ref().filter(|_| place.generation == id.generation)
    }

    pub fn get_mut(&mut self, id: Id) -> Option<&mut T> {
        let place = &mut self.places[id.index()];
        place.client.as_mut().filter(|_| place.generation == id.generation)
    }

    pub fn remove(&mut self, id: Id) -> Option<T> {
        self.get(id)?;
        let place = &mut self.places[id.index()];
        place.generation = place.generation.wrapping_add(1);
        self.free.push(id.index);
        place.client.take()
    }

    /// All clients.
    pub fn ids(&self) -> impl Iterator<Item = Id> {
        let taken = self.places.iter().zip(0..).filter(|(place, _)| place.client.is_some());
        taken.map(|(place, index)| Id { index, generation: place.generation })
    }

    /// Who has this name.
    pub fn named(&self, name: &[u8]) -> Option<Id> {
        self.names.get(name).copied()
    }

    /// How many names there are.
    pub fn names(&self) -> usize {
        self.names.len()
    }

    /// Gives a name to a client; whoever had it has it no more.
    pub fn give(&mut self, name: Rc<[u8]>, id: Id) {
        self.names.insert(name, id);
    }

    /// Takes a name from a client that has it.
    pub fn release(&mut self, name: &[u8], id: Id) {
        if self.named(name) == Some(id) {
            self.names.remove(name);
        }
    }
}
