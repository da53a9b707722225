//! The two APIs that gobgpd has had since 3.0: other names, another number for the global table, the same messages.

use std::fmt;

/// Which API a gobgpd serves. There is no field that says so: whoever does not know the service answers UNIMPLEMENTED.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Api {
    /// `apipb.GobgpApi`: gobgpd 3.0 and later.
    V3,
    /// `api.GoBgpService`: gobgpd 4.0 and later.
    V4,
}

impl Api {
    /// The one that is asked for first.
    pub const FIRST: Api = Api::V4;

    /// The one to ask for when this one is not served.
    pub fn next(self) -> Option<Api> {
        match self {
            Api::V4 => Some(Api::V3),
            Api::V3 => None,
        }
    }

    /// The service, as in the path of each call.
    pub fn service(self) -> &'static str {
        match self {
            Api::V3 => "apipb.GobgpApi",
            Api::V4 => "api.GoBgpService",
        }
    }

    /// GLOBAL of the enumeration TableType. In 4.x 0 is UNSPECIFIED.
    pub fn global_table(self) -> i32 {
        match self {
            Api::V3 => 0,
            Api::V4 => 1,
        }
    }
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Api::V3 => "3.x",
            Api::V4 => "4.x",
        })
    }
}
