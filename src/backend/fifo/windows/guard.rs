//! Says whether somebody of our user listens at a name: a named mutex that nobody ever locks.
//!
//! It exists as long as its listener, and no longer: the system removes it with its last handle,
//! also when the process is killed. In the global namespace, as pipes are, so that it works between
//! sessions of one user; with the user's id in its name, so that no other user's listener of the
//! same name is taken for ours.

use std::io;
use std::os::windows::io::OwnedHandle;

use widestring::U16CString;

use super::name::Name;
use super::{sys, user};

/// Held by the listener.
#[derive(Debug)]
pub(super) struct Guard {
    _mutex: OwnedHandle,
}

impl Guard {
    /// Takes the name; `AddrInUse` when it is held.
    pub(super) fn take(name: &Name) -> io::Result<Self> {
        let problem = match sys::create_mutex(&mutex_name(name)?, &user::only_us()?) {
            Ok(Some(mutex)) => return Ok(Self { _mutex: mutex }),
            Ok(None) => "another listener holds",
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                "another user has taken the mutex that stands for"
            }
            Err(error) => return Err(error),
        };
        let text = format!("{problem} {name}: end that process, or use another name");
        Err(io::Error::new(io::ErrorKind::AddrInUse, text))
    }

    /// Whether somebody holds the name.
    pub(super) fn is_held(name: &Name) -> io::Result<bool> {
        Ok(sys::mutex_exists(&mutex_name(name)?))
    }
}

fn mutex_name(name: &Name) -> io::Result<U16CString> {
    let text = format!(r"Global\wayside-{}-{}", user::own_sid()?, name.key());
    U16CString::from_str(text).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use interprocess::os::windows::security_descriptor::SecurityDescriptor;

    use super::*;

    #[test]
    fn a_name_has_one_holder_and_is_free_once_that_is_gone() {
        let name = Name::parse(&format!("guard-test-{}", std::process::id())).unwrap();
        assert!(!Guard::is_held(&name).unwrap());
        let guard = Guard::take(&name).unwrap();
        assert!(Guard::is_held(&name).unwrap());
        let error = Guard::take(&name).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(guard);
        assert!(!Guard::is_held(&name).unwrap());
        Guard::take(&name).unwrap();
    }

    #[test]
    fn another_users_mutex_is_told_from_a_listener_of_ours() {
        let name = Name::parse(&format!("guard-test-other-{}", std::process::id())).unwrap();
        // As another user may make one: it lets nobody in.
        let text = U16CString::from_str("D:P(D;;GA;;;WD)").unwrap();
        let closed = SecurityDescriptor::deserialize(&text).unwrap();
        let _theirs = sys::create_mutex(&mutex_name(&name).unwrap(), &closed).unwrap();
        let error = Guard::take(&name).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        if !super::super::under_wine("keeps nobody out of a mutex") {
            assert!(!Guard::is_held(&name).unwrap());
            assert!(error.to_string().contains("another user"), "{error}");
        }
    }
}
