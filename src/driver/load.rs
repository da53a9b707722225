//! Reads the configuration from disk, and looks at the files that it names.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::control::access;
use super::probe::{needs, user};
use super::secret;
use crate::config::{
    self, BearerToken, Config, Diagnostic, FileReference, FileRole, Gobgp, Position, Secret, Source, Texts,
};

/// The largest file that is read, in bytes: some 50,000 services.
const MAX_FILE: u64 = 8 << 20;
/// The most that all files may have together.
const MAX_TOTAL: u64 = 32 << 20;
/// The most values, keys and commas of texts that anybody may have understood: some 20,000 services.
const MAX_VALUES: usize = 300_000;
/// The largest text that a configuration names: GLB's tables, which programs write.
const MAX_TEXT: u64 = 64 << 20;

/// A configuration and what it was made of.
#[derive(Debug)]
pub(crate) struct Configured {
    pub(crate) config: Config,
    pub(crate) origin: Arc<Origin>,
    /// GLB's tables as they were before they were read.
    pub(crate) stamp: Option<Stamp>,
}

/// Who is told what is wrong with a configuration, and so with the files that it names: findings repeat what is in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Whoever may have it put in force.
    Owner,
    /// Anybody: no file is read that not everybody may read.
    Anybody,
}

/// The texts of a configuration but for GLB's tables, which may change without it.
#[derive(Debug)]
pub(crate) struct Origin {
    /// The main file and the drop-ins.
    sources: Vec<Source>,
    /// Those that the main file names.
    texts: Texts,
}

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    inode: (u64, u64),
    size: u64,
    modified: (i64, i64),
}

impl Stamp {
    /// Of the file as it is now; `None` when there is none.
    pub(crate) fn of(path: &Path) -> Option<Stamp> {
        let metadata = fs::metadata(path).ok()?;
        Some(Stamp {
            inode: (metadata.dev(), metadata.ino()),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }
}

/// Reads `path` and the drop-ins `conf.d/*.toml` beside it, in the order of their names, validates them, and looks at
/// the files that they name, and at what the system lets us do. May block on a slow disk: not for the event loop.
///
/// # Errors
/// Everything that is wrong, each with its place; for a file that cannot be read that is its beginning.
pub fn load(path: &Path) -> Result<Config, Vec<Diagnostic>> {
    read_all(path).map(|read| read.config)
}

/// The same, and what it was made of.
///
/// # Errors
/// As [`load`].
pub(crate) fn read_all(path: &Path) -> Result<Configured, Vec<Diagnostic>> {
    let mut errors = Vec::new();
    let sources = read_sources(path, &mut errors);
    if !errors.is_empty() {
        errors.extend(config::parse_incomplete(&sources));
        errors.sort();
        return Err(errors);
    }
    read_texts(sources, Audience::Owner)
}

/// The texts of the main file and the drop-ins; what cannot be read is empty, and among the errors.
pub(crate) fn read_sources(path: &Path, errors: &mut Vec<Diagnostic>) -> Vec<Source> {
    let mut sources = vec![read_source(path, errors)];
    let directory = path.parent().unwrap_or(Path::new("")).join("conf.d");
    let mut total = sources.iter().map(|source| source.text.len() as u64).sum::<u64>();
    for drop_in in drop_ins(&directory, errors) {
        let source = read_source(&drop_in, errors);
        total += source.text.len() as u64;
        if total > MAX_TOTAL {
            errors.push(at_start(&drop_in, too_much()));
            break;
        }
        sources.push(source);
    }
    sources
}

/// Whether texts that somebody else has read are as small as [`read_sources`] wants them; those of anybody must not be much
/// larger once they are understood, either.
///
/// # Errors
/// The first that is too large, or too much.
pub(crate) fn look_at_sizes(sources: &[Source], audience: Audience) -> Result<(), Vec<Diagnostic>> {
    let (mut total, mut values) = (0, 0);
    for source in sources {
        let (size, path) = (source.text.len() as u64, Path::new(&*source.name));
        total += size;
        if size > MAX_FILE {
            return Err(vec![at_start(path, too_large(MAX_FILE))]);
        }
        if total > MAX_TOTAL {
            return Err(vec![at_start(path, too_much())]);
        }
        // Each value has one of these before it.
        values += source.text.bytes().filter(|octet| b"=,[{".contains(octet)).count();
        if audience == Audience::Anybody && values > MAX_VALUES {
            let fault =
                format!("with this file there are more than {MAX_VALUES} values: it takes somebody who may reload");
            return Err(vec![at_start(path, fault)]);
        }
    }
    Ok(())
}

/// The same of the main file and the drop-ins, once they have been read.
///
/// # Errors
/// As [`load`].
pub(crate) fn read_texts(sources: Vec<Source>, audience: Audience) -> Result<Configured, Vec<Diagnostic>> {
    let (mut texts, mut stamps) = (Texts::new(), BTreeMap::new());
    let config = read_named(&sources, &mut texts, &mut stamps, audience)?;
    let tables = config.glb.as_ref().map(|glb| glb.source.clone());
    let stamp = tables.as_ref().and_then(|path| stamps.remove(path)).flatten();
    texts.retain(|path, _| tables.as_ref() != Some(path));
    Ok(Configured { config, origin: Arc::new(Origin { sources, texts }), stamp })
}

/// `[gobgp]` of the main file, whatever else is wrong with it or with what it names.
pub(crate) fn find_gobgp(path: &Path) -> Option<Arc<Gobgp>> {
    let main = read_source(path, &mut Vec::new());
    let mut texts = Texts::new();
    // The first file that it names is that which may say more about gobgpd; the tables do not.
    for named in config::wanted_files(std::slice::from_ref(&main), &texts) {
        texts.insert(named.clone(), read_text(&named, Audience::Owner));
    }
    config::find_gobgp(&main, &texts)
}

/// Whether the main file may say something about gobgpd, whatever is wrong with it.
pub(crate) fn may_name_gobgp(path: &Path) -> bool {
    let mut errors = Vec::new();
    let main = read_source(path, &mut errors);
    // [glb] names a file that may.
    !errors.is_empty() || main.text.contains("gobgp") || main.text.contains("glb")
}

/// Validates texts that have been read, and looks at the files that they name.
///
/// # Errors
/// Everything that is wrong, each with its place.
pub(crate) fn load_text(sources: &[Source]) -> Result<Config, Vec<Diagnostic>> {
    validate(sources, &Texts::new())
}

/// Reads GLB's tables again, and nothing else.
///
/// # Errors
/// As [`load`].
pub(crate) fn read_tables(origin: &Arc<Origin>) -> Result<Configured, Vec<Diagnostic>> {
    let (mut texts, mut stamps) = (origin.texts.clone(), BTreeMap::new());
    let config = read_named(&origin.sources, &mut texts, &mut stamps, Audience::Owner)?;
    let stamp = config.glb.as_ref().and_then(|glb| stamps.remove(&glb.source)).flatten();
    Ok(Configured { config, origin: origin.clone(), stamp })
}

/// Validates texts that have been read together with those that they name, which are read now but for those in `texts`.
fn read_named(
    sources: &[Source],
    texts: &mut Texts,
    stamps: &mut BTreeMap<PathBuf, Option<Stamp>>,
    audience: Audience,
) -> Result<Config, Vec<Diagnostic>> {
    loop {
        let wanted = config::wanted_files(sources, texts);
        let missing: Vec<PathBuf> = wanted.into_iter().filter(|path| !texts.contains_key(path)).collect();
        if missing.is_empty() {
            return validate(sources, texts);
        }
        for path in missing {
            stamps.insert(path.clone(), Stamp::of(&path));
            let text = read_text(&path, audience);
            texts.insert(path, text);
        }
    }
}

/// A text that the configuration names.
fn read_text(path: &Path, audience: Audience) -> Result<Source, String> {
    let (file, metadata) = open_at_most(path, MAX_TEXT)?;
    if audience == Audience::Anybody && !is_public(&file, &metadata).unwrap_or(false) {
        return Err("is not for everybody to read: it takes somebody who may reload to name it".to_owned());
    }
    let (name, bytes) = (display(path), content_at_most(path, file, MAX_TEXT)?);
    let text = String::from_utf8(bytes).map_err(|error| {
        let fault = not_utf8(path, error.as_bytes(), error.utf8_error().valid_up_to());
        format!("{} (line {}, column {})", fault.message, fault.position.line, fault.position.column)
    })?;
    Ok(Source { name, text })
}

/// Whether everybody may read this file where it is.
fn is_public(file: &File, metadata: &fs::Metadata) -> io::Result<bool> {
    // Where it is by now, whatever led there.
    let path = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    let mut is_public = metadata.mode() & 0o004 != 0;
    for directory in path.ancestors().skip(1) {
        is_public &= fs::metadata(directory)?.mode() & 0o001 != 0;
    }
    Ok(is_public)
}

fn validate(sources: &[Source], texts: &Texts) -> Result<Config, Vec<Diagnostic>> {
    config::parse_with(sources, texts).and_then(supply)
}

/// Looks at the files that a configuration names, and at what the system lets us do, and gives it what is in them.
///
/// # Errors
/// Everything that is wrong, each with its place.
pub(crate) fn supply(mut config: Config) -> Result<Config, Vec<Diagnostic>> {
    let (mut secrets, mut tokens) = (BTreeMap::new(), BTreeMap::new());
    let faults = config.references.iter().filter_map(|reference| look_at(reference, &mut secrets, &mut tokens));
    let mut errors: Vec<_> = faults.chain(needs::look(&config)).collect();
    errors.sort();
    config.give_secrets(&secrets);
    config.give_tokens(&tokens);
    // Without a name there is none to tell, and that is no reason to refuse a configuration.
    config.give_hostname(fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim());
    if errors.is_empty() { Ok(config) } else { Err(errors) }
}

/// The drop-ins in the order of their names; hidden files and those that do not end in `.toml` are none.
fn drop_ins(directory: &Path, errors: &mut Vec<Diagnostic>) -> Vec<PathBuf> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            errors.push(at_start(directory, format!("cannot be listed: {}", reason(&error))));
            return Vec::new();
        }
    };
    let mut paths = Vec::new();
    for entry in entries {
        match entry {
            Ok(entry) => paths.push(entry.path()),
            Err(error) => errors.push(at_start(directory, format!("cannot be listed: {}", reason(&error)))),
        }
    }
    let is_hidden = |path: &PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml") && !is_hidden(path));
    paths.sort();
    paths
}

/// The text of a file; empty where it cannot be read, which is then among the errors.
fn read_source(path: &Path, errors: &mut Vec<Diagnostic>) -> Source {
    let text = match read(path, MAX_FILE) {
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                errors.push(not_utf8(path, error.as_bytes(), error.utf8_error().valid_up_to()));
                String::new()
            }
        },
        Err(fault) => {
            errors.push(at_start(path, fault));
            String::new()
        }
    };
    Source { name: display(path), text }
}

/// The content of a regular file, or what is the matter with it.
fn read(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    open_at_most(path, most).and_then(|(file, _)| content_at_most(path, file, most))
}

/// A regular file, and what the system says of it. Neither a FIFO nor a device can block this.
pub(super) fn open(path: &Path) -> Result<(File, fs::Metadata), String> {
    open_at_most(path, MAX_FILE)
}

fn open_at_most(path: &Path, most: u64) -> Result<(File, fs::Metadata), String> {
    // Before it is opened: opening a device may do something.
    fs::metadata(path)
        .map_err(|error| unreadable(path, &error))
        .and_then(|metadata| refuse_irregular(&metadata, most))?;
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path);
    let file: File = file.map_err(|error| unreadable(path, &error))?;
    // And again: it may be another file by now.
    let metadata = file.metadata().map_err(|error| unreadable(path, &error))?;
    refuse_irregular(&metadata, most)?;
    Ok((file, metadata))
}

/// What is in an open file.
pub(super) fn content(path: &Path, file: File) -> Result<Vec<u8>, String> {
    content_at_most(path, file, MAX_FILE)
}

fn content_at_most(path: &Path, file: File, most: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).map_err(|error| unreadable(path, &error))?;
    if bytes.len() as u64 > most { Err(too_large(most)) } else { Ok(bytes) }
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    match fs::read_link(path) {
        Ok(target) if error.kind() == ErrorKind::NotFound => {
            format!("is a symbolic link to {}, which does not exist", display(&target))
        }
        _ if error.kind() == ErrorKind::NotFound => "does not exist".to_owned(),
        _ => format!("cannot be read: {}", reason(error)),
    }
}

fn refuse_irregular(metadata: &fs::Metadata, most: u64) -> Result<(), String> {
    if metadata.is_dir() {
        Err("is a directory".to_owned())
    } else if !metadata.is_file() {
        Err("is not a regular file".to_owned())
    } else if metadata.len() > most {
        Err(too_large(most))
    } else {
        Ok(())
    }
}

fn too_much() -> String {
    format!("with this file the configuration is larger than {MAX_TOTAL} bytes")
}

fn too_large(most: u64) -> String {
    format!("is larger than {most} bytes")
}

fn not_utf8(path: &Path, bytes: &[u8], valid: usize) -> Diagnostic {
    let text = bytes.get(..valid).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default();
    let line_start = text.rfind('\n').map_or(0, |at| at + 1);
    let line = text.bytes().filter(|b| *b == b'\n').count() + 1;
    let column = text.get(line_start..).unwrap_or_default().chars().count() + 1;
    let byte = bytes.get(valid).copied().unwrap_or_default();
    let message = format!("is not text: byte {valid} of the file, 0x{byte:02x}, is not UTF-8");
    Diagnostic { position: Position { file: display(path), line, column }, message }
}

/// What is wrong with a file that the configuration names. A secret that is in order is taken.
fn look_at(
    reference: &FileReference,
    secrets: &mut BTreeMap<PathBuf, Secret>,
    tokens: &mut BTreeMap<PathBuf, BearerToken>,
) -> Option<Diagnostic> {
    let fault = match reference.role {
        FileRole::CertificateAuthority => look_at_authorities(&reference.path),
        // The handshakes' own loader says more about these.
        FileRole::ClientCertificate | FileRole::ClientKey => Ok(()),
        FileRole::Command => look_at_command(&reference.path),
        FileRole::Group => access::look(&reference.path.to_string_lossy()),
        FileRole::User => user::look(&reference.path.to_string_lossy()),
        FileRole::Password => {
            secret::read(&reference.path).map(|secret| drop(secrets.insert(reference.path.clone(), secret)))
        }
        FileRole::BearerToken => {
            secret::read_token(&reference.path).map(|token| drop(tokens.insert(reference.path.clone(), token)))
        }
    };
    let message = format!("{}: {}", display(&reference.path), fault.err()?);
    Some(Diagnostic { position: reference.position.clone(), message })
}

fn look_at_authorities(path: &Path) -> Result<(), String> {
    let pem = read(path, MAX_FILE)?;
    let mut found = 0;
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| format!("is not valid PEM: {error}"))?;
        found += 1;
        store.add_parsable_certificates([certificate]);
    }
    match (found, store.is_empty()) {
        (0, _) => Err("holds no PEM certificate".to_owned()),
        (_, true) => Err("holds no certificate that can be understood".to_owned()),
        _ => Ok(()),
    }
}

fn look_at_command(path: &Path) -> Result<(), String> {
    let metadata = fs::metadata(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => "does not exist".to_owned(),
        _ => format!("cannot be looked at: {}", reason(&error)),
    })?;
    if !metadata.is_file() {
        return Err("is not a file".to_owned());
    }
    rustix::fs::access(path, rustix::fs::Access::EXEC_OK).map_err(|_| "is not executable".to_owned())
}

fn at_start(path: &Path, message: impl Into<String>) -> Diagnostic {
    Diagnostic { position: Position { file: display(path), line: 1, column: 1 }, message: message.into() }
}

/// A path on one line, whatever bytes it is made of.
fn display(path: &Path) -> Arc<str> {
    let escape = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    path.to_string_lossy().chars().map(escape).collect::<String>().into()
}

/// The system's words for an error, without its number.
fn reason(error: &io::Error) -> String {
    let text = error.to_string().to_lowercase();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    const SERVICE: &str = "[[service]]\nname = 'web'\nvips = ['192.0.2.1']\nport = 80\nchecks = []\n";

    struct Directory(tempfile::TempDir);

    impl Directory {
        fn new() -> Directory {
            Directory(tempfile::tempdir().unwrap())
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
            let path = self.path(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            path
        }

        /// The errors, without the directory.
        fn errors(&self, name: &str) -> Vec<String> {
            let errors = load(&self.path(name)).map(|_| ()).unwrap_err();
            let prefix = format!("{}/", self.0.path().display());
            errors.iter().map(|error| error.to_string().replace(&prefix, "")).collect()
        }
    }

    #[test]
    fn drop_ins_add_in_the_order_of_their_names() {
        let directory = Directory::new();
        let main = directory.write("herald.toml", SERVICE);
        let named = |name: &str, port| SERVICE.replace("web", name).replace("80", port);
        directory.write("conf.d/20.toml", named("last", "82"));
        directory.write("conf.d/10.toml", named("middle", "81"));
        for ignored in ["conf.d/.hidden.toml", "conf.d/10.toml~", "conf.d/README"] {
            directory.write(ignored, [0xff]);
        }
        let config = load(&main).unwrap();
        let names: Vec<&str> = config.services.iter().map(|service| &*service.name).collect();
        assert_eq!(names, ["web", "middle", "last"]);
    }

    #[test]
    fn what_is_not_a_readable_text_is_an_error() {
        let directory = Directory::new();
        directory.write("empty.toml", "");
        directory.write("binary.toml", b"a = 1\nb = '\xc3\xa4\xff'\n");
        directory.write("large.toml", vec![b'#'; 10 << 20]);
        directory.write("zeros.toml", vec![0; 100]);
        fs::create_dir(directory.path("directory.toml")).unwrap();
        symlink("nowhere", directory.path("dangling.toml")).unwrap();
        symlink("loop.toml", directory.path("loop.toml")).unwrap();
        symlink("/dev/zero", directory.path("device.toml")).unwrap();
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mkfifoat(rustix::fs::CWD, directory.path("fifo.toml"), mode).unwrap();
        for (name, expected) in [
            (
                "empty.toml",
                "empty.toml:1:1: nothing is configured: Herald needs a [[service]] with its VIPs and backends, and \
                 [bgp] with a [[bgp.peer]] to announce them to",
            ),
            ("binary.toml", "binary.toml:2:7: is not text: byte 13 of the file, 0xff, is not UTF-8"),
            ("large.toml", "large.toml:1:1: is larger than 8388608 bytes"),
            ("directory.toml", "directory.toml:1:1: is a directory"),
            ("dangling.toml", "dangling.toml:1:1: is a symbolic link to nowhere, which does not exist"),
            ("loop.toml", "loop.toml:1:1: cannot be read: too many levels of symbolic links"),
            ("device.toml", "device.toml:1:1: is not a regular file"),
            ("fifo.toml", "fifo.toml:1:1: is not a regular file"),
            ("missing.toml", "missing.toml:1:1: does not exist"),
        ] {
            assert_eq!(directory.errors(name).first().map(String::as_str), Some(expected));
        }
        assert!(directory.errors("zeros.toml").first().unwrap().starts_with("zeros.toml:1:"));
    }

    #[test]
    fn an_unreadable_drop_in_does_not_hide_other_errors() {
        let directory = Directory::new();
        directory
            .write("herald.toml", format!("{SERVICE}prot = 1\nchecks = ['elsewhere']\n").replace("checks = []\n", ""));
        fs::create_dir_all(directory.path("conf.d/checks.toml")).unwrap();
        assert_eq!(
            directory.errors("herald.toml"),
            [
                "conf.d/checks.toml:1:1: is a directory",
                "herald.toml:5:1: unknown key `prot` in [[service]]; did you mean `port`?"
            ]
        );
    }

    #[test]
    fn a_password_file_is_the_daemons_alone() {
        let directory = Directory::new();
        let write = |name: &str, content: &[u8], mode| {
            let path = directory.write(name, content);
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        };
        write("good", b"s3cret\n", 0o600);
        write("group", b"s3cret\n", 0o640);
        write("other", b"s3cret\n", 0o604);
        write("writable", b"s3cret\n", 0o620);
        write("empty", b"\n", 0o400);
        write("long", &[b'x'; 81], 0o400);
        write("huge", &vec![b'x'; 9 << 20], 0o400);
        symlink("good", directory.path("link")).unwrap();
        fs::create_dir(directory.path("directory")).unwrap();
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mkfifoat(rustix::fs::CWD, directory.path("fifo"), mode).unwrap();
        let peers = |names: &[&str]| {
            let mut text = "[bgp]\nlocal_as = 65001\nrouter_id = '10.0.0.1'\n".to_owned();
            for (number, name) in names.iter().enumerate() {
                let file = directory.path(name);
                text += &format!("[[bgp.peer]]\naddress = '10.0.0.{}'\npeer_as = 65000\n", number + 2);
                text += &format!("password_file = '{}'\n", file.display());
            }
            directory.write("herald.toml", text)
        };
        let bad = ["group", "other", "writable", "empty", "long", "huge", "fifo", "directory", "none", "good"];
        peers(&bad);
        let mode = |mode| format!("is open to others than its owner (mode {mode}): make it 0600 or 0400");
        let faults = [
            mode("0640"),
            mode("0604"),
            mode("0620"),
            "is empty".to_owned(),
            "holds 81 bytes: a password for TCP-MD5 has at most 80".to_owned(),
            "is larger than 8388608 bytes".to_owned(),
            "is not a regular file".to_owned(),
            "is a directory".to_owned(),
            "does not exist".to_owned(),
        ];
        let expected = bad
            .iter()
            .zip(faults)
            .enumerate()
            .map(|(number, (name, fault))| format!("herald.toml:{}:17: {name}: {fault}", 4 * number + 7));
        assert_eq!(directory.errors("herald.toml"), expected.collect::<Vec<_>>());

        let config = load(&peers(&["good", "link"])).unwrap();
        for peer in &config.bgp.as_ref().unwrap().peers {
            let password = peer.session.transport.password.as_ref().unwrap();
            assert_eq!(password.secret.as_ref().unwrap().expose(), b"s3cret");
        }
        assert!(!format!("{config:?}").contains("s3cret"));
    }

    #[test]
    fn a_token_file_is_the_daemons_alone() {
        let directory = Directory::new();
        let long = "t".repeat(Secret::MAX + 1);
        for (name, content, mode) in [("good", &*long, 0o600), ("open", &*long, 0o644), ("words", "two words", 0o400)] {
            fs::set_permissions(directory.write(name, content), fs::Permissions::from_mode(mode)).unwrap();
        }
        let hook = |name: &str| {
            let file = directory.path(name);
            let hook = format!("[[hooks.notify]]\nurl = 'https://{name}'\nbearer_token_file = '{}'\n", file.display());
            SERVICE.to_owned() + &hook
        };
        for (name, fault) in [
            ("open", "is open to others than its owner (mode 0644): make it 0600 or 0400"),
            ("words", "holds spaces, line breaks or other characters that no token has: it is one word"),
            ("none", "does not exist"),
        ] {
            directory.write("herald.toml", hook(name));
            assert_eq!(directory.errors("herald.toml"), [format!("herald.toml:8:21: {name}: {fault}")]);
        }
        let config = load(&directory.write("herald.toml", hook("good"))).unwrap();
        let config::NotifyTarget::Webhook(webhook) = &config.hooks.notify[0].target else { panic!("no webhook") };
        assert_eq!(webhook.token.as_ref().unwrap().token.as_ref().unwrap().expose(), long);
        assert!(!format!("{config:?}").contains(&long));
    }

    #[test]
    fn files_that_are_named_must_be_of_use() {
        let directory = Directory::new();
        let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let good = directory.write("good.pem", certificate.cert.pem());
        let empty = directory.write("empty.pem", "no certificate here\n");
        let cut = directory.write("cut.pem", &certificate.cert.pem()[..100]);
        let script = directory.write("script", "#!/bin/sh\n");
        let tool = directory.write("tool", "#!/bin/sh\n");
        fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
        let mut text = SERVICE.replace("checks = []", "check = [\n");
        for path in [&good, &empty, &cut, &directory.path("no.pem")] {
            text += &format!("{{ type = 'https', ca_file = '{}' }},\n", path.display());
        }
        for path in [&tool, &script, &directory.path("none"), &directory.path("")] {
            text += &format!("{{ type = 'exec', command = ['{}'] }},\n", path.display());
        }
        text += "]\n";
        directory.write("herald.toml", text);
        let errors = directory.errors("herald.toml");
        let place = |line| format!("herald.toml:{line}:");
        let expected = [
            (8, "empty.pem: holds no PEM certificate"),
            (9, "cut.pem: is not valid PEM"),
            (10, "no.pem: does not exist"),
            (12, "script: is not executable"),
            (13, "none: does not exist"),
            (14, "is not a file"),
        ];
        assert_eq!(errors.len(), expected.len(), "{errors:#?}");
        for (error, (line, message)) in errors.iter().zip(expected) {
            assert!(error.starts_with(&place(line)) && error.contains(message), "{error}");
        }
    }
}
