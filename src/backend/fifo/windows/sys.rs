//! The system calls.
//!
//! Each function is safe to call: what it is given lives for the call, what it gives back owns
//! itself, and nothing of it is kept.
#![expect(
    unsafe_code,
    reason = "neither the standard library nor interprocess has these calls: interprocess creates \
              the further instances of a pipe only for its own blocking listener"
)]

use std::io;
use std::mem::size_of;
use std::os::windows::io::{AsRawHandle, FromRawHandle, IntoRawHandle, OwnedHandle};
use std::process;
use std::ptr::{null, null_mut};

use interprocess::os::windows::security_descriptor::{
    AsSecurityDescriptorExt, BorrowedSecurityDescriptor, SecurityDescriptor,
};
use mio::windows::NamedPipe;
use widestring::U16CStr;
use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_ALREADY_EXISTS, ERROR_BROKEN_PIPE, ERROR_FILE_NOT_FOUND,
    ERROR_NO_TOKEN, ERROR_SUCCESS, HANDLE, INVALID_HANDLE_VALUE, LocalFree,
};
use windows_sys::Win32::Security::Authorization::{
    ConvertSidToStringSidW, GetSecurityInfo, SE_KERNEL_OBJECT,
};
use windows_sys::Win32::Security::{
    DACL_SECURITY_INFORMATION, GetTokenInformation, OWNER_SECURITY_INFORMATION, PSID,
    SECURITY_ATTRIBUTES, SECURITY_MAX_SID_SIZE, TOKEN_IMPERSONATE, TOKEN_QUERY, TOKEN_USER,
    TokenUser,
};
#[cfg(test)]
use windows_sys::Win32::Security::{SECURITY_IMPERSONATION_LEVEL, TokenImpersonationLevel};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_FLAG_FIRST_PIPE_INSTANCE, FILE_FLAG_OVERLAPPED, PIPE_ACCESS_DUPLEX,
};
use windows_sys::Win32::System::IO::CancelIoEx;
use windows_sys::Win32::System::Pipes::{
    CreateNamedPipeW, GetNamedPipeClientProcessId, GetNamedPipeServerProcessId,
    ImpersonateNamedPipeClient, PIPE_READMODE_BYTE, PIPE_REJECT_REMOTE_CLIENTS, PIPE_TYPE_BYTE,
    PIPE_UNLIMITED_INSTANCES, PIPE_WAIT, PeekNamedPipe,
};
use windows_sys::Win32::System::Threading::{
    CreateMutexW, GetCurrentProcess, GetCurrentThread, OpenMutexW, OpenProcessToken,
    OpenThreadToken, SYNCHRONIZATION_SYNCHRONIZE, SetThreadToken,
};

use super::is;
use super::link::SEND_LEN_MAX;
use super::name::Name;

/// Whether an instance makes the pipe or joins it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Instance {
    /// Fails with `ERROR_ACCESS_DENIED` when the pipe exists.
    First,
    Further,
}

/// Creates an instance, which clients of this host can open at once.
pub(super) fn create_instance(
    name: &Name,
    descriptor: &SecurityDescriptor,
    instance: Instance,
) -> io::Result<NamedPipe> {
    let first = match instance {
        Instance::First => FILE_FLAG_FIRST_PIPE_INSTANCE,
        Instance::Further => 0,
    };
    let attributes = attributes(descriptor);
    // SAFETY: the name ends in a NUL, and both it and the attributes, whose descriptor is borrowed
    // here too, outlive the call.
    let handle = unsafe {
        CreateNamedPipeW(
            name.wide().as_ptr(),
            PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED | first,
            PIPE_TYPE_BYTE | PIPE_READMODE_BYTE | PIPE_WAIT | PIPE_REJECT_REMOTE_CLIENTS,
            PIPE_UNLIMITED_INSTANCES,
            SEND_LEN_MAX,
            SEND_LEN_MAX,
            0,
            &raw const attributes,
        )
    };
    if handle == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just made it, and nobody else has it.
    Ok(pipe(unsafe { OwnedHandle::from_raw_handle(handle) }))
}

/// Hands a pipe, opened for overlapped use, to mio.
pub(super) fn pipe(handle: OwnedHandle) -> NamedPipe {
    // SAFETY: it is open, and ownership goes over.
    unsafe { NamedPipe::from_raw_handle(handle.into_raw_handle()) }
}

/// Whether a client has opened this instance, and perhaps left again.
pub(super) fn is_taken(pipe: &NamedPipe) -> bool {
    // SAFETY: the handle is open as long as the pipe lives; nothing is to be written anywhere.
    let peeked = unsafe {
        PeekNamedPipe(
            pipe.as_raw_handle(),
            null_mut(),
            0,
            null_mut(),
            null_mut(),
            null_mut(),
        )
    };
    // Of one that waits the system says that it is in a bad state.
    peeked != 0 || is(&io::Error::last_os_error(), ERROR_BROKEN_PIPE)
}

/// Gives up all that is under way on this pipe. Each part of it is completed for that, in mio's
/// hands, as any other.
pub(super) fn cancel(pipe: &NamedPipe) {
    // SAFETY: the handle is open as long as the pipe lives; what mio has lent to the system stays
    // lent until the completion comes.
    let cancelled = unsafe { CancelIoEx(pipe.as_raw_handle(), null()) };
    // Otherwise nothing was under way.
    let _either_way = cancelled;
}

/// The process that has opened this instance.
pub(super) fn client_process(pipe: &NamedPipe) -> io::Result<u32> {
    process_of(pipe, GetNamedPipeClientProcessId)
}

/// The process that has created the instance at the other end.
pub(super) fn server_process(pipe: &NamedPipe) -> io::Result<u32> {
    process_of(pipe, GetNamedPipeServerProcessId)
}

fn process_of(
    pipe: &NamedPipe,
    ask: unsafe extern "system" fn(HANDLE, *mut u32) -> i32,
) -> io::Result<u32> {
    let mut process = 0;
    // SAFETY: it is one of the two functions above, which write one number; the handle is open as
    // long as the pipe lives.
    succeeded(unsafe { ask(pipe.as_raw_handle(), &raw mut process) })?;
    Ok(process)
}

/// The user of the client that has opened this instance, as it was then.
pub(super) fn client_sid(pipe: &NamedPipe) -> io::Result<String> {
    sid_of_token(&client_token(pipe)?)
}

/// What the server may do as this client: the level of its token.
#[cfg(test)]
pub(super) fn client_level(pipe: &NamedPipe) -> io::Result<SECURITY_IMPERSONATION_LEVEL> {
    let token = client_token(pipe)?;
    let mut level: SECURITY_IMPERSONATION_LEVEL = -1;
    let mut written = 0;
    // SAFETY: the buffer is as long as we say; the token is open.
    let asked = unsafe {
        GetTokenInformation(
            token.as_raw_handle(),
            TokenImpersonationLevel,
            (&raw mut level).cast(),
            length(size_of::<SECURITY_IMPERSONATION_LEVEL>()),
            &raw mut written,
        )
    };
    succeeded(asked)?;
    Ok(level)
}

/// The token with which the client of this instance came.
fn client_token(pipe: &NamedPipe) -> io::Result<OwnedHandle> {
    // What the program itself has made of this thread, if anything.
    let before = thread_token(TOKEN_IMPERSONATE)?;
    // SAFETY: the handle is open as long as the pipe lives.
    succeeded(unsafe { ImpersonateNamedPipeClient(pipe.as_raw_handle()) })?;
    let token = thread_token(TOKEN_QUERY);
    let before = before
        .as_ref()
        .map_or(null_mut(), AsRawHandle::as_raw_handle);
    // SAFETY: a null thread is this one; the token is open, or null to end the impersonation.
    if unsafe { SetThreadToken(null(), before) } == 0 {
        // This thread would go on with the rights of somebody else.
        process::abort();
    }
    token?.ok_or_else(|| io::Error::other("the client has no token"))
}

/// What this thread impersonates.
fn thread_token(access: u32) -> io::Result<Option<OwnedHandle>> {
    let mut token = null_mut();
    // SAFETY: takes nothing and gives a constant.
    let thread = unsafe { GetCurrentThread() };
    // SAFETY: the out pointer is valid. The access is checked against the process, not against
    // whom the thread impersonates: that one may not even open a token.
    let opened = unsafe { OpenThreadToken(thread, access, 1, &raw mut token) };
    match succeeded(opened) {
        // SAFETY: the call has just made it, and nobody else has it.
        Ok(()) => Ok(Some(unsafe { OwnedHandle::from_raw_handle(token) })),
        Err(error) if is(&error, ERROR_NO_TOKEN) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What this process may do.
pub(super) fn process_token() -> io::Result<OwnedHandle> {
    let mut token = null_mut();
    // SAFETY: takes nothing and gives a constant.
    let process = unsafe { GetCurrentProcess() };
    // SAFETY: the out pointer is valid.
    succeeded(unsafe { OpenProcessToken(process, TOKEN_QUERY, &raw mut token) })?;
    // SAFETY: the call has just made it, and nobody else has it.
    Ok(unsafe { OwnedHandle::from_raw_handle(token) })
}

/// The security identifier of a token's user, as text.
pub(super) fn sid_of_token(token: &OwnedHandle) -> io::Result<String> {
    /// What the call writes: the struct, and behind it the identifier that it points to.
    #[repr(C)]
    struct User {
        user: TOKEN_USER,
        sid: [u8; SID_LEN_MAX],
    }
    const SID_LEN_MAX: usize = 68;
    const _: () = assert!(SECURITY_MAX_SID_SIZE == 68);

    // SAFETY: both parts are plain numbers and a pointer, for which zero is a value.
    let mut user: User = unsafe { std::mem::zeroed() };
    let len = length(size_of::<User>());
    let mut written = 0;
    // SAFETY: the buffer is as long as we say, and aligned for the struct.
    let asked = unsafe {
        GetTokenInformation(
            token.as_raw_handle(),
            TokenUser,
            (&raw mut user).cast(),
            len,
            &raw mut written,
        )
    };
    succeeded(asked)?;
    // SAFETY: the call has written a valid identifier, within the buffer, which is still there.
    unsafe { sid_text(user.user.User.Sid) }
}

/// An identifier as text.
///
/// # Safety
/// It must be valid, and stay for the call.
unsafe fn sid_text(sid: PSID) -> io::Result<String> {
    let mut text = null_mut();
    // SAFETY: the caller says so, and the out pointer is valid.
    succeeded(unsafe { ConvertSidToStringSidW(sid, &raw mut text) })?;
    // SAFETY: the call has made a text that ends in a NUL.
    let owned = unsafe { U16CStr::from_ptr_str(text) }.to_string_lossy();
    // SAFETY: the call's text is to be freed so, and nobody has it any more.
    unsafe { LocalFree(text.cast()) };
    Ok(owned)
}

/// Whose an object is, and who may use it.
#[derive(Debug)]
pub(super) struct Security {
    /// The owner's security identifier. Wine knows none when nobody has set it.
    pub(super) owner: Option<String>,
    /// Owner and access list in the descriptor language.
    pub(super) text: String,
}

/// Whose this pipe is, and who may open it.
pub(super) fn security(pipe: &NamedPipe) -> io::Result<Security> {
    let wanted = OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION;
    let mut owner = null_mut();
    let mut descriptor = null_mut();
    // SAFETY: the handle is open as long as the pipe lives, and the out pointers are valid.
    let error = unsafe {
        GetSecurityInfo(
            pipe.as_raw_handle(),
            SE_KERNEL_OBJECT,
            wanted,
            &raw mut owner,
            null_mut(),
            null_mut(),
            null_mut(),
            &raw mut descriptor,
        )
    };
    if error != ERROR_SUCCESS {
        return Err(error_of(error));
    }
    let read = || {
        let owner = match owner.is_null() {
            true => None,
            // SAFETY: it points into the descriptor.
            false => Some(unsafe { sid_text(owner) }?),
        };
        // SAFETY: the call has made the descriptor, which is valid and not freed yet.
        let borrowed = unsafe { BorrowedSecurityDescriptor::from_ptr(descriptor) };
        Ok(Security {
            owner,
            text: borrowed.serialize(wanted, |text| text.to_string_lossy())?,
        })
    };
    let security = read();
    // SAFETY: the call's descriptor is to be freed so, and nobody has it any more.
    unsafe { LocalFree(descriptor) };
    security
}

/// Creates a mutex; `None` if there is one of that name. One that belongs to somebody else is
/// `PermissionDenied`.
pub(super) fn create_mutex(
    name: &U16CStr,
    descriptor: &SecurityDescriptor,
) -> io::Result<Option<OwnedHandle>> {
    let attributes = attributes(descriptor);
    // SAFETY: the name ends in a NUL, and both it and the attributes outlive the call.
    let handle = unsafe { CreateMutexW(&raw const attributes, 0, name.as_ptr()) };
    let error = io::Error::last_os_error();
    if handle.is_null() {
        // Also of our own, if that process has been given more rights than we have.
        return if is(&error, ERROR_ACCESS_DENIED) && mutex_exists(name) {
            Ok(None)
        } else {
            Err(error)
        };
    }
    // SAFETY: the call has just made the handle, and nobody else has it.
    let mutex = unsafe { OwnedHandle::from_raw_handle(handle) };
    // Then it is a handle of the one that was there.
    Ok((!is(&error, ERROR_ALREADY_EXISTS)).then_some(mutex))
}

/// Whether there is a mutex of that name that lets us in: nobody else's does.
pub(super) fn mutex_exists(name: &U16CStr) -> bool {
    // SAFETY: the name ends in a NUL and outlives the call.
    let handle = unsafe { OpenMutexW(SYNCHRONIZATION_SYNCHRONIZE, 0, name.as_ptr()) };
    if handle.is_null() {
        let error = io::Error::last_os_error();
        return ![ERROR_FILE_NOT_FOUND, ERROR_ACCESS_DENIED]
            .iter()
            .any(|&code| is(&error, code));
    }
    // SAFETY: the call has just made the handle, and nobody else has it.
    drop(unsafe { OwnedHandle::from_raw_handle(handle) });
    true
}

/// For a handle that no child inherits. They point to the descriptor, which must outlive them.
fn attributes(descriptor: &SecurityDescriptor) -> SECURITY_ATTRIBUTES {
    let mut attributes = SECURITY_ATTRIBUTES {
        nLength: length(size_of::<SECURITY_ATTRIBUTES>()),
        lpSecurityDescriptor: null_mut(),
        bInheritHandle: 0,
    };
    descriptor.write_to_security_attributes(&mut attributes);
    attributes
}

/// The size of a struct, as the system wants it.
fn length(size: usize) -> u32 {
    u32::try_from(size).expect("structs of the system are small")
}

fn succeeded(result: i32) -> io::Result<()> {
    if result == 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn error_of(code: u32) -> io::Error {
    io::Error::from_raw_os_error(i32::try_from(code).unwrap_or(i32::MAX))
}
