//! What all handles have in common: they lead to a cell of this process, also after a fork.
//!
//! A handle knows the generation that it was made in. While that is the current one, which is one
//! comparison, its cell is the right one. In a forked child it is the parent's: what is in it will
//! be sent by the parent. So the first use in a child asks for a cell of the child's own worker,
//! and remembers it. That takes locks of the child's own worker; nothing of the parent's is waited
//! for.

use std::sync::{Arc, OnceLock, Weak};

use super::core::{Core, Process};
use crate::fork;

/// What handles lead to.
pub(crate) trait Cell: Sized {
    /// What it is found by in another process.
    type Key;

    /// The cell of this key in a process. `None` if it has none of this kind.
    fn find(process: &Process, key: &Self::Key) -> Option<Arc<Self>>;
}

/// A way to a cell. Cheap to clone.
pub(crate) struct Handle<T: Cell> {
    generation: u32,
    cell: Arc<T>,
    home: Arc<Home<T>>,
}

struct Home<T: Cell> {
    key: Arc<T::Key>,
    /// A handle does not keep its worker from ending.
    core: Weak<Core>,
    /// The handle of a forked child. Set in an instant: a fork within that instant, by another
    /// thread, would leave it half set in the grandchild.
    child: OnceLock<Handle<T>>,
}

impl<T: Cell> Handle<T> {
    /// A handle for this process. `None` if it has no such cell.
    pub(crate) fn find(core: &Arc<Core>, key: Arc<T::Key>) -> Option<Self> {
        Some(Self {
            generation: core.generation(),
            cell: T::find(core.process(), &key)?,
            home: Arc::new(Home {
                key,
                core: Arc::downgrade(core),
                child: OnceLock::new(),
            }),
        })
    }

    pub(crate) fn key(&self) -> &T::Key {
        &self.home.key
    }

    /// The cell of this process. `None` in a child whose parent's worker was gone before the fork.
    #[inline]
    pub(crate) fn cell(&self) -> Option<&T> {
        if self.generation == fork::generation_once_armed() {
            Some(&self.cell)
        } else {
            self.cell_in_child()
        }
    }

    #[cold]
    fn cell_in_child(&self) -> Option<&T> {
        if self.home.child.get().is_none() {
            let core = self.home.core.upgrade()?;
            let child = Self::find(core.current(), Arc::clone(&self.home.key))?;
            // If another thread was first it has found the same cell.
            drop(self.home.child.set(child));
        }
        self.home.child.get()?.cell()
    }
}

impl<T: Cell> Clone for Handle<T> {
    fn clone(&self) -> Self {
        Self {
            generation: self.generation,
            cell: Arc::clone(&self.cell),
            home: Arc::clone(&self.home),
        }
    }
}

impl<T: Cell> Drop for Handle<T> {
    fn drop(&mut self) {
        if self.generation != fork::generation_once_armed() {
            // Of the parent: kept for ever instead of being taken apart in the state that the fork
            // found it in.
            std::mem::forget(Arc::clone(&self.cell));
        }
    }
}
