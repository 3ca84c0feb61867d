//! Hosts of the test's own: network namespaces, joined by cables.

use std::{
    ffi::OsStr,
    fs::File,
    io,
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsFd,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use super::{LIMIT, Remote, Server, eventually, limited, run};

/// Two hosts, `a` and `b`, joined by a cable (and another one): network namespaces that are removed
/// at the end of the test.
pub struct Hosts {
    pub a: Host,
    pub b: Host,
}

/// One of the hosts.
pub struct Host {
    pub name: String,
}

impl Hosts {
    /// Makes them. `None`, and the reason printed, where that is not allowed. The first cable is `veth0`: 10.9.0.1 and
    /// fd09::1 at `a`, 10.9.0.2 and fd09::2 at `b`; the second is `veth1`: 10.9.1.1 and so on.
    pub fn new() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let id = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let host = |letter| Host { name: format!("remote-{id}-{letter}") };
        let hosts = Self { a: host("a"), b: host("b") };
        for host in [&hosts.a, &hosts.b] {
            if let Err(why) = run("ip", &["netns", "add", &host.name]) {
                println!("skipped: network namespaces are not allowed here: {why}");
                return None;
            }
            host.ip("link set lo up");
        }
        for (cable, net) in [("veth0", 0), ("veth1", 1)] {
            let (a, b) = (&hosts.a.name, &hosts.b.name);
            let add = format!("link add {cable} netns {a} type veth peer name {cable} netns {b}");
            run("ip", &add.split(' ').collect::<Vec<_>>()).expect("there are cables");
            for (host, last) in [(&hosts.a, 1), (&hosts.b, 2)] {
                host.run(&["sysctl", "-qw", &format!("net.ipv6.conf.{cable}.accept_dad=0")]);
                host.ip(&format!("addr add 10.9.{net}.{last}/24 dev {cable}"));
                host.ip(&format!("addr add fd09:{net}::{last}/64 dev {cable} nodad"));
                host.ip(&format!("link set {cable} up"));
            }
        }
        for host in [&hosts.a, &hosts.b] {
            for cable in ["veth0", "veth1"] {
                eventually("the cable to be up", || host.link_local(cable));
            }
        }
        Some(hosts)
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for host in [&self.a, &self.b] {
            // An error means that it was never made.
            let _ = run("ip", &["netns", "del", &host.name]);
            let _ = std::fs::remove_dir_all(host.folder());
        }
    }
}

impl Host {
    /// Returns a command line of the program on this host.
    pub fn remote<I, S>(&self, args: I) -> Remote
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        Remote::through(&["ip", "netns", "exec", &self.name], args)
    }

    /// Runs a command of ip(8) on this host.
    pub fn ip(&self, words: &str) {
        let mut args = vec!["-n", &self.name];
        args.extend(words.split(' '));
        run("ip", &args).expect("ip does it");
    }

    /// A command on this host.
    pub fn run(&self, words: &[&str]) {
        let mut args = vec!["netns", "exec", &self.name];
        args.extend(words);
        run("ip", &args).expect("the command succeeds");
    }

    /// Gives this host a file of names in the place of /etc/hosts (ip-netns(8)); gone with the host.
    pub fn name_hosts(&self, names: &str) {
        self.etc("hosts", names);
    }

    /// Gives this host a resolver in the place of its own.
    pub fn name_resolver(&self, address: &str) {
        self.etc("resolv.conf", &format!("nameserver {address}\n"));
    }

    fn etc(&self, name: &str, text: &str) {
        std::fs::create_dir_all(self.folder()).expect("we are root");
        std::fs::write(self.folder().join(name), text).expect("there is room");
    }

    fn folder(&self) -> PathBuf {
        Path::new("/etc/netns").join(&self.name)
    }

    /// Adds a rule of nft(8) that drops incoming packets that match `filter`.
    pub fn black_hole(&self, filter: &str) {
        let chain = "{ type filter hook input priority 0; }";
        let rules = format!("add table inet t; add chain inet t i {chain}; add rule inet t i {filter} drop");
        self.run(&["nft", &rules]);
    }

    /// Makes a socket on this host.
    pub fn socket<T: Send>(&self, make: impl FnOnce() -> io::Result<T> + Send) -> T {
        let space = File::open(format!("/run/netns/{}", self.name)).expect("the host is there");
        thread::scope(|scope| {
            let made = scope.spawn(|| {
                use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
                move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network))?;
                make()
            });
            made.join().unwrap().expect("the socket can be made")
        })
    }

    /// Starts a scripted TCP server on this host.
    pub fn server(&self, address: &str) -> Server {
        self.socket(|| TcpListener::bind(address).map(Server))
    }

    /// Connects from this host.
    pub fn connect(&self, to: SocketAddr) -> TcpStream {
        limited(self.socket(|| TcpStream::connect(to)))
    }

    /// Binds a UDP socket on this host.
    pub fn udp(&self, address: &str) -> UdpSocket {
        let socket = self.socket(|| UdpSocket::bind(address));
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        socket
    }

    /// Returns the link-local address of an interface, once it can be used.
    pub fn link_local(&self, interface: &str) -> Option<IpAddr> {
        let args = ["-n", &self.name, "-6", "-o", "addr", "show", "dev", interface, "scope", "link"];
        let text = run("ip", &args).ok()?;
        let address = text.split_whitespace().skip_while(|word| *word != "inet6").nth(1)?;
        let usable = !text.contains("tentative");
        address.split('/').next()?.parse().ok().filter(|_| usable)
    }
}
