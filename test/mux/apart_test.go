//go:build linux

package mux

// ask has a client of SOCKS 5 request a port of the far end on which no program listens, and prints
// the answer in hexadecimal.
func ask(port string) string {
	return `exec 3<>/dev/tcp/127.0.0.1/` + port + `; printf '\5\1\0\5\1\0\1\177\0\0\1\0\1' >&3; timeout 30 head -c 19 <&3 | od -An -tx1; exec 3>&-
`
}

// failing are forwards whose target cannot be reached.
var failing = []comparison{
	{name: "a local forward to no such host", command: behind("-L 17001:nosuch.invalid:1", `head -c 7 </dev/tcp/127.0.0.1/17001 2>/dev/null; echo`) + "echo"},
	{name: "a local forward to no such socket", command: behind("-L 127.0.0.1:17001:/nosuch", `head -c 7 </dev/tcp/127.0.0.1/17001 2>/dev/null; echo`)},
	{name: "a dynamic forward to nothing", command: behind("-D 17003", ask("17003"))},
	{name: "a remote dynamic forward to nothing", command: "SSH -R 17005 train bash <<'X'\n" + ask("17005") + "X"},
	{name: "a remote forward to no such host", command: "SSH -R 17002:nosuch.invalid:1 train 'head -c 7 </dev/tcp/127.0.0.1/17002 2>/dev/null; echo ran'"},
	{name: "a remote forward to no such socket", command: "SSH -R 17002:/nosuch train 'head -c 7 </dev/tcp/127.0.0.1/17002 2>/dev/null; echo ran'"},
	{name: "a quiet forward to nothing", command: behind("-q -L 17001:127.0.0.1:1", `head -c 7 </dev/tcp/127.0.0.1/17001 2>/dev/null; echo`)},
}

// apart are clients in whose place the mux cannot act.
var apart = []comparison{
	{name: "a client that stays when its terminal goes", command: "(trap '' HUP; SSH train 'echo out')", byItself: true},
	{name: "a client in another network", command: "unshare -n ssh MODE train 'echo out'", byItself: true},
	{name: "a client that sees other files", command: "unshare -m ssh MODE train 'echo out'", byItself: true},
	{name: "a client with a bound of files", command: "(ulimit -f 8; trap '' XFSZ; SSH train 'head -c 300000 /dev/zero; exit 3' >/tmp/bound; echo $?; stat -c %s /tmp/bound)", byItself: true},
}
