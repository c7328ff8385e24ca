//! The addresses that webhooks may be sent to. An endpoint's name is chosen by whoever runs its DNS, so without this check a webhook
//! could reach what only this network can: databases, consoles, the metadata of a cloud.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use ipnet::{IpNet, Ipv4Net};

use super::EndpointUrl;

/// Networks that are not part of the public internet, by the registries of special-purpose addresses of the IANA, and the ranges of
/// IPv6 that embed addresses of IPv4.
const SPECIAL: [&str; 27] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/8",
    "64:ff9b::/96",
    "64:ff9b:1::/48",
    "100::/64",
    "2001::/23",
    "2001:db8::/32",
    "2002::/16",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fe80::/10",
    "ff00::/8",
];

static PRIVATE: LazyLock<Vec<IpNet>> = LazyLock::new(|| {
    SPECIAL
        .iter()
        .filter_map(|network| network.parse().ok())
        .collect()
});

/// The networks that are allowed beyond the public internet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

/// A URL has an address that requests may not go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} is not an address of the public internet; to allow it, add its network to webhooks.allow_networks"
)]
pub struct NotPublic(pub IpAddr);

impl Networks {
    /// Reads networks such as `10.0.0.0/8`, or single addresses. None: one of them is neither.
    pub fn parse<'a>(networks: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let network = |text: &str| {
            let single = || text.parse::<IpAddr>().ok().map(IpNet::from);
            text.parse::<IpNet>().ok().or_else(single)
        };
        networks.into_iter().map(network).collect::<Option<_>>().map(Self)
    }

    /// Checks the address in a URL. A URL with a name passes: its address is only known when it is resolved.
    ///
    /// # Errors
    /// When requests may not go to that address.
    pub fn check(&self, url: &EndpointUrl) -> Result<(), NotPublic> {
        match url.address() {
            Some(address) if !url.names_this_machine() && !self.permit(address) => Err(NotPublic(address)),
            _ => Ok(()),
        }
    }

    /// Whether a request may go to this address.
    #[must_use]
    pub fn permit(&self, address: IpAddr) -> bool {
        let address = canonical(address);
        let is_in = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&address));
        is_in(&self.0) || !is_in(&PRIVATE)
    }
}

/// The address that a packet finally goes to: an address of IPv4 may be written as one of IPv6, or be reached through a translator.
fn canonical(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address.to_canonical() else {
        return address.to_canonical();
    };
    match embedded(v6) {
        Some(v4) if is_private(v4) => v4.into(),
        _ => v6.into(),
    }
}

fn embedded(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match v6.segments() {
        // NAT64, and 6to4.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

fn is_private(v4: Ipv4Addr) -> bool {
    let host = IpNet::V4(Ipv4Net::from(v4));
    PRIVATE.iter().any(|network| network.contains(&host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_special_network_is_one() {
        assert_eq!(PRIVATE.len(), SPECIAL.len());
    }

    #[test]
    fn only_public_addresses_are_permitted() {
        let none = Networks::default();
        for public in [
            "1.1.1.1",
            "172.32.0.1",
            "100.128.0.1",
            "2606:4700::1111",
            "::ffff:8.8.8.8",
        ] {
            assert!(none.permit(public.parse().unwrap()), "{public}");
        }
        for private in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.8.8.8",
            "169.254.169.254",
            "172.31.255.255",
            "192.168.0.1",
            "198.19.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::7f00:1",
            "64:ff9b::a00:1",
            "64:ff9b::808:808",
            "2002:a00:1::",
            "2001::1",
            "fd00::1",
            "fe80::1",
            "ff02::1",
        ] {
            assert!(!none.permit(private.parse().unwrap()), "{private}");
        }
    }

    #[test]
    fn a_url_is_checked_if_it_has_an_address() {
        let check = |networks: &Networks, url: &str| networks.check(&EndpointUrl::parse(url).unwrap());
        let none = Networks::default();
        for (url, private) in [
            ("https://10.0.0.1/", "10.0.0.1"),
            ("https://167772161/", "10.0.0.1"),
            ("https://[fd00::1]:8443/", "fd00::1"),
        ] {
            assert_eq!(
                check(&none, url),
                Err(NotPublic(private.parse().unwrap())),
                "{url}"
            );
        }
        for url in [
            "https://1.1.1.1/",
            "https://crm.internal/",
            "http://localhost/",
            "http://[::1]/",
        ] {
            assert_eq!(check(&none, url), Ok(()), "{url}");
        }
        let some = Networks::parse(["10.0.0.0/8"]).unwrap();
        assert_eq!(check(&some, "https://10.0.0.1/"), Ok(()));
    }

    #[test]
    fn an_allowed_network_is_permitted_in_every_notation() {
        let some = Networks::parse(["10.0.0.0/8", "fd00::/8", "127.0.0.1"]).unwrap();
        for allowed in [
            "10.1.2.3",
            "::ffff:10.0.0.1",
            "fd00::1",
            "127.0.0.1",
            "64:ff9b::a00:1",
        ] {
            assert!(some.permit(allowed.parse().unwrap()), "{allowed}");
        }
        for other in ["127.0.0.2", "192.168.0.1", "fe80::1", "::1"] {
            assert!(!some.permit(other.parse().unwrap()), "{other}");
        }
        for wrong in ["", "10.0.0.0/33", "10.0.0.0/8,", "internal"] {
            assert_eq!(Networks::parse([wrong]), None, "{wrong}");
        }
    }
}
