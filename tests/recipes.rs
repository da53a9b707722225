//! The recipes in `etc/examples`: each says what it is for, and has a valid configuration.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use herald::config::{Source, Texts, parse_with, wanted_files};

/// Recipes that are warned of: two for what the configuration does that they translate, and one that has no BGP.
const WARNED: [&str; 3] = ["anycast-healthchecker", "exabgp", "simulate"];

#[test]
fn every_recipe_is_valid_and_has_a_readme() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("etc/examples");
    let mut found = 0;
    for recipe in entries(&examples) {
        assert!(recipe.is_dir(), "{}: recipes are directories", recipe.display());
        let readme = fs::read_to_string(recipe.join("README.md")).unwrap_or_default();
        assert!(readme.starts_with("# "), "{}: no README.md with a title", recipe.display());
        for path in configurations(&recipe) {
            is_valid(&recipe, &path);
            found += 1;
        }
    }
    assert!(found >= 11, "only {found} recipes were found");
}

fn entries(directory: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path())
}

/// Every herald.toml in it: some have one for each host.
fn configurations(recipe: &Path) -> Vec<PathBuf> {
    let (directories, files): (Vec<_>, Vec<_>) = entries(recipe).partition(|path| path.is_dir());
    let here = files.into_iter().filter(|path| path.ends_with("herald.toml"));
    here.chain(directories.iter().flat_map(|directory| configurations(directory))).collect()
}

fn is_valid(recipe: &Path, path: &Path) {
    let sources = [source(path, path)];
    let mut texts = Texts::new();
    while let Some(named) = wanted_files(&sources, &texts).into_iter().find(|named| !texts.contains_key(named)) {
        // What it names is beside it.
        let text = source(&named, &recipe.join(named.file_name().unwrap()));
        texts.insert(named, Ok(text));
    }
    let config = parse_with(&sources, &texts).unwrap_or_else(|errors| panic!("{errors:#?}"));
    let warned = WARNED.iter().any(|name| recipe.ends_with(name));
    assert!(warned || config.warnings.is_empty(), "{}: {:?}", path.display(), config.warnings);
}

fn source(name: &Path, path: &Path) -> Source {
    Source { name: Arc::from(name.to_str().unwrap()), text: fs::read_to_string(path).unwrap() }
}
