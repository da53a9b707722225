use super::*;

const EXAMPLE: &str = include_str!("../../../etc/herald.example.toml");
const INSTALLED: &str = include_str!("../../../etc/herald.toml");

fn source(name: &str, text: &str) -> Source {
    Source { name: name.into(), text: text.to_owned() }
}

fn errors(text: &str) -> Vec<String> {
    match parse(&[source("f", text)]) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

fn config(text: &str) -> Config {
    parse(&[source("f", text)]).unwrap_or_else(|errors| panic!("{errors:#?}"))
}

fn warnings(text: &str) -> Vec<String> {
    config(text).warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn the_example_is_valid_and_without_warnings() {
    assert_eq!(warnings(EXAMPLE), [""; 0]);
}
