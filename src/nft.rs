//! Rules of nftables by netfilter's own netlink: the messages that nft(8) would send, no more of them than address translation
//! takes. They are sent as one batch, which counts as a whole or not at all.

use std::net::Ipv4Addr;

use nix::errno::Errno;

use crate::sys::netlink::{Message, Socket, attribute};

// Of include/uapi/linux/netfilter/nf_tables.h and nfnetlink.h
const SUBSYS: u16 = 10 << 8;
const NEWTABLE: u16 = SUBSYS;
const DELTABLE: u16 = SUBSYS | 2;
const NEWCHAIN: u16 = SUBSYS | 3;
const NEWRULE: u16 = SUBSYS | 6;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NLA_F_NESTED: u16 = 0x8000;
/// NFPROTO_IPV4
const IPV4: u8 = 2;
const VERDICT: u32 = 0;
const REGISTER: u32 = 1;
const REGISTER_2: u32 = 2;

/// What a packet shows, and what it must be for the rule to go on.
#[derive(Debug, Clone, Copy)]
pub enum Match<'a> {
    /// It came in by this interface.
    InputIs(&'a str),
    /// It goes out by this one.
    OutputIs(&'a str),
    /// It goes out by another one.
    OutputIsNot(&'a str),
    /// It comes from this network.
    From(Ipv4Addr, u8),
    /// It goes to this network.
    To(Ipv4Addr, u8),
    /// It goes to an address of the machine itself.
    ToLocal,
    /// It is of this protocol, a number of IANA's, and goes to this port.
    Port(u8, u16),
    /// Its destination has been changed on the way.
    Redirected,
}

/// What becomes of a packet that matches.
#[derive(Debug, Clone, Copy)]
pub enum Action {
    /// It is gone.
    Drop,
    /// It goes to another address and port.
    Redirect(Ipv4Addr, u16),
    /// It goes as if it came from the machine itself.
    Masquerade,
}

/// Where a chain is looked at: hook number and priority of linux/netfilter_ipv4.h, and what its rules may do.
#[derive(Debug, Clone, Copy)]
pub struct Hook {
    /// The chain.
    pub name: &'static str,
    kind: &'static str,
    number: u32,
    priority: i32,
}

const fn hook(name: &'static str, kind: &'static str, number: u32, priority: i32) -> Hook {
    Hook { name, kind, number, priority }
}

/// Before anything else is looked at.
pub const GUARD: Hook = hook("guard", "filter", 0, -300);
/// What comes in, before its way is known.
pub const PREROUTING: Hook = hook("prerouting", "nat", 0, -100);
/// What the machine itself sends.
pub const OUTPUT: Hook = hook("output", "nat", 3, -100);
/// What leaves, when its way is known.
pub const POSTROUTING: Hook = hook("postrouting", "nat", 4, 100);

/// A batch of changes to one table of IPv4.
#[derive(Debug)]
pub struct Batch {
    table: &'static str,
    messages: Vec<Message>,
    /// For each message what the kernel has to have for it.
    needs: Vec<&'static str>,
}

impl Batch {
    /// A batch that takes the table away with all that is in it.
    pub fn without(table: &'static str) -> Self {
        let mut batch = Self { table, messages: Vec::new(), needs: Vec::new() };
        // struct nfgenmsg; a batch names the subsystem.
        batch.push(Message::part(BATCH_BEGIN, 0, &[0, 0, 0, 10]), "");
        // Made first, so that there is one to remove.
        batch.table(NEWTABLE, Message::MAKE);
        batch.table(DELTABLE, 0);
        batch
    }

    /// A batch that begins the table anew.
    pub fn instead(table: &'static str) -> Self {
        let mut batch = Self::without(table);
        batch.table(NEWTABLE, Message::MAKE);
        batch
    }

    fn push(&mut self, message: Message, needs: &'static str) {
        self.messages.push(message);
        self.needs.push(needs);
    }

    fn table(&mut self, kind: u16, flags: u16) {
        let mut message = Message::part(kind, flags, &[IPV4, 0, 0, 0]);
        message.attribute(1, &text(self.table));
        self.push(message, "CONFIG_NF_TABLES, CONFIG_NF_TABLES_IPV4");
    }

    /// Adds a chain.
    pub fn chain(&mut self, chain: Hook) {
        let mut message = Message::part(NEWCHAIN, Message::MAKE, &[IPV4, 0, 0, 0]);
        let mut hook = Vec::new();
        attribute(&mut hook, 1, &chain.number.to_be_bytes());
        attribute(&mut hook, 2, &chain.priority.to_be_bytes());
        message.attribute(1, &text(self.table));
        message.attribute(3, &text(chain.name));
        message.attribute(4 | NLA_F_NESTED, &hook);
        message.attribute(7, &text(chain.kind));
        self.push(
            message,
            if chain.kind == "nat" { "CONFIG_NFT_NAT, CONFIG_NF_NAT" } else { "CONFIG_NF_TABLES_IPV4" },
        );
    }

    /// Adds a rule at the end of a chain.
    pub fn rule(&mut self, chain: Hook, matches: &[Match<'_>], action: Action) {
        let mut expressions = Expressions(Vec::new());
        matches.iter().for_each(|one| expressions.match_one(*one));
        expressions.action(action);
        let mut message = Message::part(NEWRULE, Message::APPEND, &[IPV4, 0, 0, 0]);
        message.attribute(1, &text(self.table));
        message.attribute(2, &text(chain.name));
        message.attribute(4 | NLA_F_NESTED, &expressions.0);
        let needs = match action {
            Action::Drop => "CONFIG_NF_TABLES_IPV4",
            Action::Redirect(..) => "CONFIG_NFT_NAT, CONFIG_NFT_FIB_IPV4",
            Action::Masquerade => "CONFIG_NFT_MASQ, CONFIG_NFT_CT",
        };
        self.push(message, needs);
    }

    /// Sends it to the kernel, in the caller's network namespace. A failure comes with what the kernel may lack, as options
    /// of its configuration; empty when it is none of those.
    pub fn send(mut self) -> Result<(), (Errno, &'static str)> {
        self.push(Message::part(BATCH_END, 0, &[0, 0, 0, 10]), "");
        let socket = Socket::netfilter().map_err(|errno| (errno, "CONFIG_NETFILTER_NETLINK"))?;
        socket.batch(self.messages).map_err(|(at, errno)| {
            // Of the beginning nothing but the subsystem can be missing.
            let needs = if at == 0 { "CONFIG_NF_TABLES" } else { self.needs.get(at).copied().unwrap_or("") };
            let missing =
                matches!(errno, Errno::ENOENT | Errno::EOPNOTSUPP | Errno::EINVAL | Errno::EAFNOSUPPORT);
            (errno, if missing { needs } else { "" })
        })
    }
}

fn text(text: &str) -> Vec<u8> {
    [text.as_bytes(), b"\0"].concat()
}

/// A list of expressions: each loads a register, compares one, or ends in an action.
struct Expressions(Vec<u8>);

impl Expressions {
    /// One expression of numbers, and of data that was put together before.
    fn add(&mut self, name: &str, numbers: &[(u16, u32)], data: &[(u16, &[u8])]) {
        let mut inside = Vec::new();
        numbers.iter().for_each(|(kind, number)| attribute(&mut inside, *kind, &number.to_be_bytes()));
        for (kind, value) in data {
            let mut nested = Vec::new();
            attribute(&mut nested, 1, value); // NFTA_DATA_VALUE
            attribute(&mut inside, kind | NLA_F_NESTED, &nested);
        }
        let mut expression = Vec::new();
        attribute(&mut expression, 1, &text(name));
        attribute(&mut expression, 2 | NLA_F_NESTED, &inside);
        attribute(&mut self.0, 1 | NLA_F_NESTED, &expression);
    }

    fn compare(&mut self, differs: bool, value: &[u8]) {
        self.add("cmp", &[(1, REGISTER), (2, u32::from(differs))], &[(3, value)]);
    }

    fn interface(&mut self, key: u32, differs: bool, name: &str) {
        self.add("meta", &[(1, REGISTER), (2, key)], &[]);
        let mut padded = name.as_bytes().to_vec();
        padded.resize(libc::IFNAMSIZ, 0);
        self.compare(differs, &padded);
    }

    /// Bytes of a packet: `base` is 1 for the network header, 2 for that of the transport.
    fn payload(&mut self, base: u32, offset: u32, length: u32) {
        self.add("payload", &[(1, REGISTER), (2, base), (3, offset), (4, length)], &[]);
    }

    fn network(&mut self, offset: u32, address: Ipv4Addr, prefix: u8) {
        self.payload(1, offset, 4);
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
        if prefix < 32 {
            self.mask(mask.to_be_bytes());
        }
        self.compare(false, &(address.to_bits() & mask).to_be_bytes());
    }

    fn mask(&mut self, mask: [u8; 4]) {
        self.add("bitwise", &[(1, REGISTER), (2, REGISTER), (3, 4)], &[(4, &mask), (5, &[0; 4])]);
    }

    fn match_one(&mut self, one: Match<'_>) {
        match one {
            Match::InputIs(name) => self.interface(6, false, name),
            Match::OutputIs(name) => self.interface(7, false, name),
            Match::OutputIsNot(name) => self.interface(7, true, name),
            Match::From(address, prefix) => self.network(12, address, prefix),
            Match::To(address, prefix) => self.network(16, address, prefix),
            Match::ToLocal => {
                // NFT_FIB_RESULT_ADDRTYPE of NFTA_FIB_F_DADDR is RTN_LOCAL
                self.add("fib", &[(1, REGISTER), (2, 3), (3, 2)], &[]);
                self.compare(false, &2_u32.to_ne_bytes());
            }
            Match::Port(protocol, port) => {
                self.add("meta", &[(1, REGISTER), (2, 16)], &[]); // NFT_META_L4PROTO
                self.compare(false, &[protocol]);
                self.payload(2, 2, 2);
                self.compare(false, &port.to_be_bytes());
            }
            Match::Redirected => {
                self.add("ct", &[(1, REGISTER), (2, 2)], &[]); // NFT_CT_STATUS
                self.mask((1_u32 << 5).to_ne_bytes()); // IPS_DST_NAT
                self.compare(true, &[0; 4]);
            }
        }
    }

    fn action(&mut self, action: Action) {
        match action {
            Action::Drop => {
                let (mut verdict, mut data) = (Vec::new(), Vec::new());
                attribute(&mut verdict, 1, &0_u32.to_be_bytes()); // NF_DROP
                attribute(&mut data, 2 | NLA_F_NESTED, &verdict); // NFTA_DATA_VERDICT
                let mut inside = Vec::new();
                attribute(&mut inside, 1, &VERDICT.to_be_bytes());
                attribute(&mut inside, 2 | NLA_F_NESTED, &data);
                let mut expression = Vec::new();
                attribute(&mut expression, 1, &text("immediate"));
                attribute(&mut expression, 2 | NLA_F_NESTED, &inside);
                attribute(&mut self.0, 1 | NLA_F_NESTED, &expression);
            }
            Action::Redirect(address, port) => {
                self.add("immediate", &[(1, REGISTER)], &[(2, &address.octets())]);
                self.add("immediate", &[(1, REGISTER_2)], &[(2, &port.to_be_bytes())]);
                let destination = 1;
                let numbers = [(1, destination), (2, u32::from(IPV4)), (3, REGISTER), (5, REGISTER_2)];
                self.add("nat", &numbers, &[]);
            }
            Action::Masquerade => self.add("masq", &[], &[]),
        }
    }
}
