//! The text with its health: nothing else in it changes.

use serde_json::Value;

use super::parsed;

const MAIN: &str = "[glb]\nsource = '/t'\n";

fn render(text: &str, healthy: &[bool]) -> String {
    let table = parsed(MAIN, text).glb.unwrap().table.clone();
    assert_eq!(table.backends.len(), healthy.len());
    table.render(healthy)
}

/// A table with these backends, as they stand.
fn with(backends: &str) -> String {
    format!(
        "{{\"tables\":[{{\"binds\":[{{\"ip\":\"192.0.2.1\",\"proto\":\"tcp\",\"port\":80}}],\"backends\":[{backends}]}}]}}"
    )
}

#[test]
fn a_value_is_replaced_where_it_stands() {
    let b = r#""ip":"10.0.0.1","state":"active""#;
    for (backend, expected) in [
        (format!("{{\"healthy\" : true , {b}}}"), format!("{{\"healthy\" : false , {b}}}")),
        (format!("{{{b},\"healthy\":null}}"), format!("{{{b},\"healthy\":false}}")),
        (
            "{\"ip\":\"10.0.0.1\",\"healthy\":[1,{}],\t\"state\":\"active\"}".to_owned(),
            "{\"ip\":\"10.0.0.1\",\"healthy\":false,\t\"state\":\"active\"}".to_owned(),
        ),
        (format!("{{{b},\"he\\u0061lthy\":\"?\"}}"), format!("{{{b},\"he\\u0061lthy\":false}}")),
        // Elsewhere it is others' business.
        (
            format!("{{\"x\":{{\"healthy\":1}},{b},\"healthy\":1}}"),
            format!("{{\"x\":{{\"healthy\":1}},{b},\"healthy\":false}}"),
        ),
    ] {
        assert_eq!(render(&with(&backend), &[false]), with(&expected));
    }
}

#[test]
fn a_value_is_added_as_its_neighbours_are_written() {
    for (backend, expected) in [
        ("{\"ip\":\"10.0.0.1\",\"state\":\"active\"}", "{\"ip\":\"10.0.0.1\",\"state\":\"active\",\"healthy\":true}"),
        (
            "{ \"ip\": \"10.0.0.1\", \"state\": \"active\" }",
            "{ \"ip\": \"10.0.0.1\", \"state\": \"active\", \"healthy\": true }",
        ),
        (
            "{\r\n\t\"state\" : \"active\",\r\n\t\"ip\" : \"10.0.0.1\"\r\n}",
            "{\r\n\t\"state\" : \"active\",\r\n\t\"ip\" : \"10.0.0.1\",\r\n\t\"healthy\" : true\r\n}",
        ),
        (
            "{\n  \"ip\": \"10.0.0.1\" ,\n  \"state\": \"active\" ,\n  \"healthchecks\": {\n  }\n}",
            "{\n  \"ip\": \"10.0.0.1\" ,\n  \"state\": \"active\" ,\n  \"healthchecks\": {\n  },\n  \"healthy\": true\n}",
        ),
        (
            "{\"ip\":\"10.0.0.1\",\"state\":\"active\",\"a,b\":\",\"}",
            "{\"ip\":\"10.0.0.1\",\"state\":\"active\",\"a,b\":\",\",\"healthy\":true}",
        ),
    ] {
        assert_eq!(render(&with(backend), &[true]), with(expected));
        // What is written can be read again, and then stays as it is.
        assert_eq!(render(&with(expected), &[true]), with(expected));
    }
}

#[test]
fn all_else_is_kept_to_the_octet() {
    let text = "\n{ \"zeta\": 1e400, \"alpha\": 12345678901234567890, \"\\u00e9\": -0.0,\n \"tables\" : [ {\t\"seed\":\"ab\", \"name\":\"ü\",\n\
        \"binds\":[],\"hash_key\":\"00\", \"backends\":[ {\"ip\":\"10.0.0.1\",\"state\":\"inactive\",\"healthy\":false,\"weight\":1.50},\n\
        {\"healthy\":true,\"ip\":\"10.0.0.2\",\"state\":\"active\"} ] } , {\"backends\":[],\"binds\":[]} ] }\n\n";
    let first = "\"healthy\":false,\"weight\"";
    assert_eq!(render(text, &[false, true]), text);
    assert_eq!(render(text, &[true, true]), text.replace(first, "\"healthy\":true,\"weight\""));
    assert_eq!(render(text, &[false, false]), text.replace("{\"healthy\":true", "{\"healthy\":false"));
}

/// For texts whose numbers serde_json can hold.
#[test]
fn the_result_is_the_same_but_for_health() {
    let text = with(
        "{\"ip\":\"10.0.0.1\",\"state\":\"active\"},\n{\"healthy\":1,\"ip\":\"10.0.0.2\",\"state\":\"draining\",\"x\":[null,{}]}",
    );
    let mut expected: Value = serde_json::from_str(&text).unwrap();
    expected["tables"][0]["backends"][0]["healthy"] = true.into();
    expected["tables"][0]["backends"][1]["healthy"] = false.into();
    assert_eq!(serde_json::from_str::<Value>(&render(&text, &[true, false])).unwrap(), expected);
}
