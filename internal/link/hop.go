package link

import (
	"encoding/json"
	"slices"
	"strings"
)

// The user's ssh starts an ssh of its own for each jump host (ProxyJump; many a
// ProxyCommand). Options on a command line do not reach those, nor does -E; but
// ssh starts them by the name that it was started by itself, and by PATH. So the
// link starts ssh under a name of its own, below a directory that is first on
// PATH: that name leads to this program, which becomes the true ssh with the same
// options as the first (see Hop). The user's configuration is read by ssh alone,
// as always: its Includes and tokens resolve as they do for the user.
const (
	hopDirEnv  = "KEYWAY_HOP_DIR" // the dial attempt's directory
	hopSSHEnv  = "KEYWAY_HOP_SSH" // the true ssh
	hopNameEnv = "KEYWAY_HOP"     // the host that an ssh leads to
	hopProgram = "ssh"            // name in the directory
	hopSocket  = "words.sock"     // where an ssh for a jump host says that it begins
)

// hopOptions, with the ownOptions, keep every ssh of the link's, also those to jump hosts,
// free of what the user's configuration may want for the user's own connections to the
// same hosts. A shared connection would end with another's, outlive the link, or hang
// where the network has died; forwarded ports would collide; an agent or display
// that is forwarded would be open to a host's root for as long as the uplink is; a
// command, no command or a closed standard input of their own would end the node.
// The messages of ssh itself must be on, or nobody knows why it ended. All other
// settings of the configuration apply.
var hopOptions = []string{
	"-o", "ControlMaster=no", "-o", "ControlPath=none", "-o", "ControlPersist=no",
	"-o", "LogLevel=VERBOSE",
	"-o", "ForwardAgent=no", "-o", "ForwardX11=no", "-o", "RequestTTY=no", "-o", "EscapeChar=none",
	// The link finds dead connections by itself, and does not end those that only stall.
	"-o", "ServerAliveInterval=0",
}

// newerHopOptions, which OpenSSH knows from 8.5 on, add two lines, by which a host that is
// silent is told from one that lets a person wait (see stepOf).
var newerHopOptions = []string{"-o", "LogVerbose=compat.c:compat_banner()*,sshconnect2.c:input_userauth_service_accept()*"}

// hopHello is what an ssh to a jump host says first on the dial attempt's socket; the
// answer is a hopWelcome. Its standard error follows.
type hopHello struct {
	Host string `json:"host"`
}

type hopWelcome struct {
	Log     string   `json:"log"`     // for -E
	Options []string `json:"options"` // for the command line
}

// maxHopMessage bounds either in bytes, with its line end.
const maxHopMessage = 16 << 10

func encodeLine(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // of strings alone
	}
	return append(text, '\n')
}

// sshFlags are the options of ssh that have an argument (ssh(1), OpenSSH 10).
const sshFlags = "BbcDEeFIiJLlmOoPpQRSWw"

// destination is the host among the arguments of an ssh; empty if there is none.
func destination(args []string) string {
	for i := 0; i < len(args); i++ {
		arg := args[i]
		switch {
		case arg == "--":
			return first(args[i+1:])
		case !strings.HasPrefix(arg, "-") || arg == "-":
			return arg
		}
		// Letters may stand together; the first with an argument takes the rest, or the
		// next word.
		if at := strings.IndexAny(arg[1:], sshFlags); at == len(arg)-2 && at >= 0 {
			i++
		}
	}
	return ""
}

func first(words []string) string {
	if len(words) == 0 {
		return ""
	}
	return words[0]
}

// withEnv is env with variables that come before those of the same name.
func withEnv(env []string, set ...string) []string {
	kept := slices.DeleteFunc(slices.Clone(env), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return slices.ContainsFunc(set, func(s string) bool { return strings.HasPrefix(s, name+"=") })
	})
	return append(kept, set...)
}
