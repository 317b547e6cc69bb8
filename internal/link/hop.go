package link

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"keyway/internal/lazyregexp"
	"keyway/internal/sshargs"
)

// The user's ssh starts another ssh for each jump host (ProxyJump; many a ProxyCommand). Options on
// the command line, -E among them, do not reach those. But ssh starts them by the name by which it
// was started itself, and by PATH. So the link starts ssh under a name in a directory that is first
// on PATH. The name leads to this program, which executes the real ssh with the same options (see
// Hop). Only ssh reads the user's configuration, as always: its Includes and tokens resolve as they
// do for the user.
//
// A ProxyCommand may name an ssh by its path. ssh runs ProxyCommands by the shell that SHELL names.
// Where there are any, this is a name of this program, too, which puts the link's ssh in place of
// that path, and becomes the user's shell.
const (
	hopDirEnv   = "KEYWAY_HOP_DIR"   // the ssh run's directory
	hopSSHEnv   = "KEYWAY_HOP_SSH"   // the real ssh
	hopShellEnv = "KEYWAY_HOP_SHELL" // the real shell; unset if the run needs none
	hopNameEnv  = "KEYWAY_HOP"       // the host that an ssh leads to
	hopProgram  = "ssh"              // name in the directory
	hopShell    = "shell"            // likewise; no program that people call
	hopSocket   = "words.sock"       // where an ssh for a jump host announces itself
)

// hopOptions, with the ownOptions, keep every ssh of the link, including those to jump hosts,
// independent of settings that the user has for his own connections to the same hosts. A shared
// connection would end with another's, outlive the link, or hang where the network has died.
// Forwarded ports would collide. A forwarded agent or display would be open to a host's root for as
// long as the uplink exists. A remote command, no command or a closed standard input would end the
// node. The messages of ssh itself must be on, or the link could not tell why it ended. All other
// settings of the configuration apply.
var hopOptions = []string{
	"-o", "ControlMaster=no", "-o", "ControlPath=none", "-o", "ControlPersist=no",
	"-o", "LogLevel=VERBOSE",
	"-o", "ForwardAgent=no", "-o", "ForwardX11=no", "-o", "RequestTTY=no", "-o", "EscapeChar=none",
	// The link detects dead connections by itself, and does not end those that only stall.
	"-o", "ServerAliveInterval=0",
}

// newerHopOptions need OpenSSH 8.5. They add messages that distinguish a silent host from one
// that waits for a person, and from an agent that does not sign (see stepOf).
var newerHopOptions = []string{"-o", "LogVerbose=compat.c:compat_banner()*,sshconnect2.c:input_userauth_service_accept()*,sshconnect2.c:sign_and_send_pubkey()*"}

// hopHello is the first message of an ssh to a jump host on the ssh run's socket. The answer
// is a hopWelcome. Its standard error follows.
type hopHello struct {
	Host string `json:"host"`
	SSH  string `json:"ssh"` // the program, whose version decides about the options
}

type hopWelcome struct {
	Log     string   `json:"log"`     // for -E
	Options []string `json:"options"` // for the command line
}

// maxHopMessage bounds the bytes of either, with the end of the line.
const maxHopMessage = 16 << 10

func encodeLine(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // cannot fail for strings
	}
	return append(text, '\n')
}

// hopLess are the options with which an ssh makes no connection of its own: it prints its
// configuration or version, or controls a shared connection.
const hopLess = "GOQV"

// undoing lists the options of a command line that override the hopOptions, the ownOptions or -E in
// any order. Many a ProxyCommand has -q, which would hide why its ssh ended.
const undoing = "AEfMqSXYy"

// hopLine returns the host of an ssh to a jump host, and a function that returns its arguments with
// further options. ok is false if that ssh makes no connection, or reports a fault in its
// arguments.
func hopLine(args []string) (host string, with func(options ...string) []string, ok bool) {
	l, err := sshargs.Parse(args)
	if err != nil || l.Host == "" || l.Has(hopLess) {
		return "", nil, false
	}
	return l.Host, func(options ...string) []string {
		return append(options, l.Without(undoing).Args()...)
	}, true
}

// reSSHByPath finds the ssh that a ProxyCommand starts by its path: as the command itself, or as
// the first one of a shell's. ssh itself puts exec before it.
var reSSHByPath = lazyregexp.New(`^\s*` + before + `(?:(?:\S*/)?(?:ba|da|k|z)?sh\s+-c\s+["']\s*` + before + `)?["']?(/[^\s"'\\$;&|()<>` + "`" + `]*/ssh)(?:["']?\s)`)

// before may stand before a command: variables, and programs that become it.
const before = `(?:(?:exec|env|nice|nohup|setsid|\w+=[^\s"'\\$;&|()<>` + "`" + `]*)\s+)*`

// byPath returns the position in command of a path of an ssh; ok is false if there is none, or
// if the link's own is there already.
func byPath(command, hop string) (from, to int, ok bool) {
	at := reSSHByPath.FindStringSubmatchIndex(command)
	if at == nil || command[at[2]:at[3]] == hop {
		return 0, 0, false
	}
	return at[2], at[3], true
}

// maxScript bounds the bytes that are read of a script in a ProxyCommand.
const maxScript = 64 << 10

// reAnySSHPath finds the paths of programs called ssh among words.
var reAnySSHPath = lazyregexp.New(`(?m)^[^#\n]*?(?:^|[\s"'=])(/[^\s"'\\$;&|()<>` + "`" + `]*/ssh)(?:$|["'\s])`)

// Apart returns a sentence about an ssh that the ProxyCommand of host starts without the link's
// knowledge, and "" if there is none. Such an ssh uses the user's settings for connections to the
// same host.
func Apart(host, command string) string {
	ssh, script := sshApart(command)
	if ssh == "" {
		return ""
	}
	return fmt.Sprintf("%s starts %s by that path for %s: this ssh has your settings for your own connections, such as ControlMaster, and keyway may not learn why it ends; write ssh there without a path",
		cmp.Or(script, "the ProxyCommand"), ssh, host)
}

// sshApart returns the path of such an ssh, and the script that starts it, if it is one. Both are
// empty if there is none.
func sshApart(command string) (ssh, script string) {
	if _, to, ok := byPath(command, ""); ok {
		command = command[to:]
	}
	words := strings.Fields(command)
	if len(words) == 0 || filepath.Base(words[0]) == hopProgram { // what follows is for another machine
		return "", ""
	}
	if m := reAnySSHPath.FindStringSubmatch(command); m != nil {
		return onThisMachine(m[1]), ""
	}
	name := words[0]
	if rest, ok := strings.CutPrefix(name, "~/"); ok {
		home, _ := os.UserHomeDir()
		name = filepath.Join(home, rest)
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", ""
	}
	f, err := os.Open(path)
	if err != nil {
		return "", ""
	}
	defer f.Close()
	text, _ := io.ReadAll(io.LimitReader(f, maxScript))
	m := reAnySSHPath.FindSubmatch(text)
	if m == nil || !strings.HasPrefix(string(text), "#!") {
		return "", ""
	}
	if ssh = onThisMachine(string(m[1])); ssh == "" {
		return "", ""
	}
	return ssh, path
}

// onThisMachine returns path if there is a program on this machine, and otherwise "".
func onThisMachine(path string) string {
	if found, err := exec.LookPath(path); err == nil {
		return found
	}
	return ""
}

// withEnv returns env with variables set, which replace those of the same name.
func withEnv(env []string, set ...string) []string {
	kept := slices.DeleteFunc(slices.Clone(env), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return slices.ContainsFunc(set, func(s string) bool { return strings.HasPrefix(s, name+"=") })
	})
	return append(kept, set...)
}
