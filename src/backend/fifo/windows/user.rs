//! Who we are, whom we let in, and whose a pipe is.

use std::io;

use interprocess::os::windows::security_descriptor::{AsSecurityDescriptorExt, SecurityDescriptor};
use mio::windows::NamedPipe;
use widestring::U16CString;
use windows_sys::Win32::Security::{DACL_SECURITY_INFORMATION, OWNER_SECURITY_INFORMATION};

use super::sys;

/// The security identifier of the user that this process runs as: `S-1-5-21-…`.
pub(super) fn own_sid() -> io::Result<String> {
    sys::sid_of_token(&sys::process_token()?)
}

/// A descriptor that lets in our own user and nobody else.
///
/// The owner is named as well: a process with an administrator's full rights would otherwise create
/// objects that belong to the group of administrators, and clients could not tell whose they are.
/// No group is named: interprocess 2.4.7 takes it for the owner when it copies the descriptor.
pub(super) fn only_us() -> io::Result<SecurityDescriptor> {
    let sid = own_sid()?;
    let text = format!("O:{sid}D:P(A;;FA;;;{sid})");
    let text = U16CString::from_str(text).map_err(io::Error::other)?;
    SecurityDescriptor::deserialize(&text)
}

/// Whether the pipe of this instance was created by our user, for our user only. Then so were all
/// its instances: nobody else may create one.
pub(super) fn is_only_ours(pipe: &NamedPipe) -> io::Result<bool> {
    let wanted = OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION;
    let ours = only_us()?.serialize(wanted, |text| text.to_string_lossy())?;
    let theirs = sys::security(pipe)?;
    Ok(theirs.owner == Some(own_sid()?) && entries(&theirs.text) == entries(&ours))
}

/// The entries of the access list in a descriptor's text. Flags before them say how the list came
/// about.
fn entries(text: &str) -> Option<&str> {
    text.find('(').map(|start| &text[start..])
}

#[cfg(test)]
mod tests {
    use super::super::name::Name;
    use super::super::sys::Instance;
    use super::*;

    #[test]
    fn a_pipe_with_our_descriptor_is_only_ours_and_one_with_another_is_not() {
        let name = Name::parse(&format!("user-test-{}", std::process::id())).unwrap();
        let ours = sys::create_instance(&name, &only_us().unwrap(), Instance::First).unwrap();
        assert!(is_only_ours(&ours).unwrap());
        assert_eq!(
            sys::security(&ours).unwrap().owner,
            Some(own_sid().unwrap())
        );

        let name = Name::parse(&format!("user-test-open-{}", std::process::id())).unwrap();
        let text = format!("O:{}D:P(A;;FA;;;WD)", own_sid().unwrap());
        let text = U16CString::from_str(text).unwrap();
        let open = SecurityDescriptor::deserialize(&text).unwrap();
        let open = sys::create_instance(&name, &open, Instance::First).unwrap();
        assert!(!is_only_ours(&open).unwrap());
    }
}
