//! Where a parent can be dialled.

use crate::proto;

/// A parent's first shard, and how many it has; shard n listens on port + n.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    host: String,
    shards: u16,
}

/// Why a text is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not host:port, such as \"relay.example:7460\" or \"[2001:db8::1]:7460\"")]
pub struct NoAddress(String);

impl NoAddress {
    /// The text, as much of it as could have been one.
    pub fn written(&self) -> &str {
        &self.0
    }
}

impl Address {
    /// `host` is `name:port`, `1.2.3.4:port` or `[v6]:port`; every shard's port must exist.
    pub fn new(host: &str, shards: u16) -> Result<Self, NoAddress> {
        let port = host.rsplit_once(':').and_then(|(name, port)| {
            let bare = !name.contains(':') || (name.starts_with('[') && name.ends_with(']'));
            (bare && !name.is_empty()).then(|| port.parse::<u16>().ok()).flatten()
        });
        let fits = |port: u16| port > 0 && u32::from(port) + u32::from(shards) <= 65_536;
        let plain = host.len() <= LONGEST && host.chars().all(|letter| !letter.is_whitespace() && !letter.is_control());
        match port {
            Some(port) if fits(port) && plain && shards > 0 => Ok(Self { host: host.to_owned(), shards }),
            _ => Err(NoAddress(host.chars().take(LONGEST).collect())),
        }
    }

    /// `host:port` of the first shard.
    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn shards(&self) -> u16 {
        self.shards
    }

    pub fn from_proto(address: &proto::Address) -> Result<Self, NoAddress> {
        // A parent that does not say has one.
        let shards = u16::try_from(address.shards.max(1)).map_err(|_| NoAddress(address.host.clone()))?;
        Self::new(&address.host, shards)
    }

    pub fn to_proto(&self) -> proto::Address {
        proto::Address { host: self.host.clone(), shards: self.shards.into() }
    }
}

/// A name has 253 bytes (RFC 1035 §2.3.4), and then comes a port.
const LONGEST: usize = 260;
/// In a placement or a Welcome: two sessions, and others in their place.
pub const MOST_ADDRESSES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_dialled_is_an_address_and_nothing_else() {
        for host in ["relay.example:7460", "10.0.0.1:1", "[2001:db8::1]:65535", "loa:7460"] {
            let address = Address::new(host, 1).unwrap();
            assert_eq!(Address::from_proto(&address.to_proto()), Ok(address));
        }
        for host in ["", "relay", "relay:", ":7460", "relay:0", "relay:65536", "2001:db8::1:7460", "a b:1", "a\n:1"] {
            assert!(Address::new(host, 1).is_err(), "{host:?}");
        }
        assert!(Address::new("relay:65535", 2).is_err(), "the second shard has no port");
        assert!(Address::new("relay:7460", 0).is_err());
        assert!(Address::new(&format!("{}:1", "x".repeat(LONGEST)), 1).is_err());
        assert!(Address::from_proto(&proto::Address { host: "relay:7460".into(), shards: 70_000 }).is_err());
    }
}
