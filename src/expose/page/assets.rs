//! The files of the page: embedded, compressed once, under an address with their hash.
//!
//! All files are in one folder whose name is the hash of them all, so that modules find each other by relative paths, a
//! browser never mixes two versions, and each may be kept for ever.

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::sync::LazyLock;

/// One file as it is in the program.
struct Source {
    name: &'static str,
    bytes: &'static [u8],
}

impl Source {
    /// The bytes that are sent: our own modules without indentation and comments, which browsers do not need. A comment is a line
    /// of its own there, and no string goes over a line, so that this needs no parser. Lines stay, for messages that name them.
    fn sent(&self) -> Vec<u8> {
        let own = self.name.ends_with(".js") && self.name != VENDORED;
        let Some(text) = own.then(|| std::str::from_utf8(self.bytes).ok()).flatten() else {
            return self.bytes.to_vec();
        };
        let bare = |line: &'static str| Some(line.trim()).filter(|line| !line.starts_with("//")).unwrap_or_default();
        text.lines().flat_map(|line| [bare(line), "\n"]).collect::<String>().into_bytes()
    }
}

macro_rules! sources {
    ($($name:literal),* $(,)?) => {
        &[$(Source { name: $name, bytes: include_bytes!(concat!("assets/", $name)) }),*]
    };
}

/// Every file that a browser may ask for, apart from the HTML.
const SOURCES: &[Source] = sources![
    "actions.js",
    "agent.js",
    "alerts.js",
    "api.js",
    "charts.js",
    "dialog.js",
    "dom.js",
    "fleet.js",
    "fleet-data.js",
    "format.js",
    "icon.svg",
    "keys.js",
    "known.js",
    "list.js",
    "live.js",
    "main.js",
    "measurements.js",
    "objectives.js",
    "page.css",
    "plugins.js",
    "prometheus.js",
    "service.js",
    "sign-in.js",
    "state.js",
    "strip.js",
    "time.js",
    "timeline.js",
    "tokens.css",
    "uplot.css",
    "uplot.js",
];

/// The module that is not ours.
const VENDORED: &str = "uplot.js";

/// The one document; `{assets}` stands for the folder of the files.
const DOCUMENT: &str = include_str!("assets/index.html");
/// What stands for the folder in the document.
const FOLDER: &str = "{assets}";

/// A file as it is sent.
#[derive(Debug)]
pub struct Asset {
    /// Its name in the folder.
    pub name: &'static str,
    /// Its `Content-Type`.
    pub media: &'static str,
    /// As it is.
    pub plain: Vec<u8>,
    /// With gzip.
    pub gzip: Vec<u8>,
}

/// All files, made once.
#[derive(Debug)]
pub struct Assets {
    /// The name of the folder: a hash of every file.
    pub hash: String,
    /// The HTML.
    pub document: Asset,
    files: Vec<Asset>,
}

static ASSETS: LazyLock<Assets> = LazyLock::new(Assets::made);

impl Assets {
    /// The files of this program.
    pub fn get() -> &'static Self {
        &ASSETS
    }

    /// The file `name` of the folder.
    pub fn file(&self, name: &str) -> Option<&Asset> {
        self.files.iter().find(|file| file.name == name)
    }

    fn made() -> Self {
        let hash = hash();
        let text = DOCUMENT.replace(FOLDER, &format!("assets/{hash}"));
        let document = Asset::of("index.html", text.into_bytes());
        let files = SOURCES.iter().map(|source| Asset::of(source.name, source.sent())).collect();
        Self { hash, document, files }
    }

    /// What a browser loads in all, compressed, bytes.
    #[must_use]
    pub fn compressed_bytes(&self) -> usize {
        self.files.iter().map(|file| file.gzip.len()).sum::<usize>() + self.document.gzip.len()
    }
}

impl Asset {
    fn of(name: &'static str, plain: Vec<u8>) -> Self {
        // Memory does not fail to take bytes; if it did, the file would go out as it is.
        let gzip = compressed(&plain).unwrap_or_default();
        Self { name, media: media_of(name), plain, gzip }
    }
}

fn compressed(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// The first 16 hex digits of the SHA-256 of all names and bytes.
fn hash() -> String {
    let mut all = Sha256::new();
    for source in SOURCES {
        all.update(source.name);
        all.update([0]);
        all.update(source.bytes.len().to_le_bytes());
        all.update(source.bytes);
    }
    all.update(DOCUMENT);
    all.finalize().iter().take(8).fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn media_of(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// What the page may weigh, compressed.
    const MOST_BYTES: usize = 80 * 1024;

    #[test]
    fn the_page_weighs_at_most_80_kb() {
        let assets = Assets::get();
        let all = assets.compressed_bytes();
        assert!(all <= MOST_BYTES, "{all} bytes");
        // Every file is really compressed, so that the sum says what it should.
        for file in &assets.files {
            assert!(!file.gzip.is_empty() && file.gzip.len() < file.plain.len(), "{}", file.name);
        }
    }

    #[test]
    fn every_file_of_the_folder_is_served() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/expose/page/assets");
        let mut found: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "index.html" && !name.starts_with("LICENSE") && !name.ends_with(".md"))
            .collect();
        found.sort();
        let served: Vec<&str> = SOURCES.iter().map(|source| source.name).collect();
        let mut sorted = served.clone();
        sorted.sort_unstable();
        assert_eq!(found, sorted);
    }

    /// A module that is imported and not there would end in a blank page.
    #[test]
    fn every_import_is_there() {
        let mut imports = 0;
        for source in SOURCES.iter().filter(|source| source.name.ends_with(".js") && source.name != VENDORED) {
            let text = std::str::from_utf8(source.bytes).unwrap();
            for quoted in text.split('\'').filter(|part| part.starts_with("./") && part.ends_with(".js")) {
                assert!(Assets::get().file(&quoted[2..]).is_some(), "{} imports {quoted}", source.name);
                imports += 1;
            }
            for forbidden in
                ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "http://", "https://"]
            {
                let allowed = forbidden == "http://"
                    && text.matches(forbidden).count() == text.matches("http://www.w3.org/").count();
                assert!(allowed || !text.contains(forbidden), "{} has {forbidden}", source.name);
            }
        }
        assert!(imports > 20, "{imports}");
    }

    /// What [`Source::sent`] takes for granted.
    #[test]
    fn no_string_of_our_modules_goes_over_a_line() {
        for source in SOURCES.iter().filter(|source| source.name.ends_with(".js") && source.name != VENDORED) {
            let text = std::str::from_utf8(source.bytes).unwrap();
            for (at, line) in text.lines().enumerate() {
                assert!(line.matches('`').count() % 2 == 0, "{}:{}: {line}", source.name, at + 1);
            }
            assert!(!text.contains("/*"), "{}: comments are lines", source.name);
            let sent = String::from_utf8(source.sent()).unwrap();
            assert!(!sent.lines().any(|line| line.starts_with("//")), "{}", source.name);
            assert_eq!(sent.lines().count(), text.lines().count(), "{}", source.name);
        }
    }

    #[test]
    fn the_document_has_nothing_inline() {
        assert!(!DOCUMENT.contains("style="), "no inline style");
        for script in DOCUMENT.split("<script").skip(1) {
            assert!(script.split('>').next().unwrap_or_default().contains("src="), "no inline script");
        }
        assert!(DOCUMENT.contains(FOLDER));
        assert!(!DOCUMENT.split_whitespace().any(|word| word.starts_with("on") && word.contains("=\"")), "no handlers");
    }
}
