package link

import (
	"encoding/json"
	"slices"
	"strings"
)

// The user's ssh starts another ssh for each jump host (ProxyJump; many a ProxyCommand). Options on
// the command line, -E among them, do not reach those. But ssh starts them by the name by which it
// was started itself, and by PATH. So the link starts ssh under a name in a directory that is first
// on PATH. The name leads to this program, which executes the real ssh with the same options (see
// Hop). Only ssh reads the user's configuration, as always: its Includes and tokens resolve as they
// do for the user.
const (
	hopDirEnv  = "KEYWAY_HOP_DIR" // the ssh run's directory
	hopSSHEnv  = "KEYWAY_HOP_SSH" // the real ssh
	hopNameEnv = "KEYWAY_HOP"     // the host that an ssh leads to
	hopProgram = "ssh"            // name in the directory
	hopSocket  = "words.sock"     // where an ssh for a jump host announces itself
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

// newerHopOptions need OpenSSH 8.5. They add two messages that distinguish a silent host from one
// that waits for a person (see stepOf).
var newerHopOptions = []string{"-o", "LogVerbose=compat.c:compat_banner()*,sshconnect2.c:input_userauth_service_accept()*"}

// hopHello is the first message of an ssh to a jump host on the ssh run's socket. The answer
// is a hopWelcome. Its standard error follows.
type hopHello struct {
	Host string `json:"host"`
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

// sshFlags are the options of ssh that have an argument (ssh(1), OpenSSH 10).
const sshFlags = "BbcDEeFIiJLlmOoPpQRSWw"

// destination returns the host among the arguments of an ssh; empty if there is none.
func destination(args []string) string {
	for i := 0; i < len(args); i++ {
		arg := args[i]
		switch {
		case arg == "--":
			return first(args[i+1:])
		case !strings.HasPrefix(arg, "-") || arg == "-":
			return arg
		}
		// Letters may be combined; the first one with an argument takes the rest, or the next word.
		if at := strings.IndexAny(arg[1:], sshFlags); at == len(arg)-2 && at >= 0 {
			i++
		}
	}
	return ""
}

// talkative is the arguments of an ssh without -q, which no option prevails over: many a
// ProxyCommand has it, and why its ssh ended would not be known.
func talkative(args []string) []string {
	to := slices.Index(args, destination(args))
	options := slices.DeleteFunc(slices.Clone(args[:to]), func(arg string) bool { return arg == "-q" })
	return append(options, args[to:]...)
}

func first(words []string) string {
	if len(words) == 0 {
		return ""
	}
	return words[0]
}

// withEnv returns env with variables set, which replace those of the same name.
func withEnv(env []string, set ...string) []string {
	kept := slices.DeleteFunc(slices.Clone(env), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return slices.ContainsFunc(set, func(s string) bool { return strings.HasPrefix(s, name+"=") })
	})
	return append(kept, set...)
}
