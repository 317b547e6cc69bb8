// Package call derives from the command line of an ssh its request to the mux.
package call

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"keyway/internal/sshargs"
)

// Options of ssh(1) that mean the same with a mux: without a value, and with one. Any other option,
// including those of later versions, needs an ssh that connects by itself. With a mux, it does not go
// to the background (-f); other keys, addresses or jump hosts are not the mux's; and it has no
// connection of its own to report (-v), which editors read. The protocol cannot express that a client
// wants no session (-N): only its command line tells.
const (
	plainFlags = "46AaCkNnqsTtvxy"
	valueFlags = "DeELlORWo"
)

// sameOptions are the options of ssh_config(5) on the command line that mean the same with a mux,
// with their required value; an empty value means any.
var sameOptions = map[string]string{
	"batchmode":               "",
	"clearallforwardings":     "yes",
	"compression":             "",
	"connectionattempts":      "",
	"connecttimeout":          "",
	"controlmaster":           "",
	"controlpath":             "",
	"controlpersist":          "",
	"dynamicforward":          "",
	"escapechar":              "",
	"exitonforwardfailure":    "",
	"forkafterauthentication": "no",
	"forwardagent":            "", // the protocol has it, but without a path: see readValue
	"forwardx11":              "no",
	"identityagent":           "", // the caller compares it
	"ignoreunknown":           "",
	"localforward":            "",
	"loglevel":                "",
	"permitlocalcommand":      "no",
	"streamlocalbindunlink":   "no",
	"remotecommand":           "",
	"remoteforward":           "",
	"requesttty":              "",
	"sendenv":                 "",
	"serveralivecountmax":     "",
	"serveraliveinterval":     "",
	"sessiontype":             "", // see readValue
	"setenv":                  "",
	"stdinnull":               "no",
	"tcpkeepalive":            "",
	"tunnel":                  "no",
	"forwardx11trusted":       "no",
	"numberofpasswordprompts": "",
}

// quietLevels are the log levels at which ssh prints nothing about a working forward. At other
// levels, except usualLevel, it reports its connection.
var quietLevels = []string{"QUIET", "FATAL", "ERROR"}

const usualLevel = "INFO"

// Call is the call of an ssh.
type Call struct {
	Control bool   // ssh -O
	Quiet   bool   // it prints only error messages
	Idle    bool   // it wants no session (-N)
	Log     string // the file of its messages (-E); empty: standard error
	Agent   string // the agent's socket that it is told to ask; empty: the configuration's
	User    string // empty: the configuration's

	loud  bool // it reports its connection
	typed bool // it has a SessionType
}

// Parse reads the command line of an ssh. The error is the reason for which it must connect by
// itself.
func Parse(args []string) (in Call, err error) {
	if len(args) == 0 || path.Base(args[0]) != "ssh" {
		return in, fmt.Errorf("not called as ssh")
	}
	l, err := sshargs.Parse(args[1:])
	if err != nil {
		return in, err
	}
	for _, o := range l.Options {
		switch {
		case strings.IndexByte(plainFlags, o.Letter) >= 0:
			in.Quiet, in.loud = in.Quiet || o.Letter == 'q', in.loud || o.Letter == 'v'
			if o.Letter == 'N' {
				in.sessionType("none")
			}
		case strings.IndexByte(valueFlags, o.Letter) < 0:
			return in, fmt.Errorf("called with -%c", o.Letter)
		default:
			if err := in.readValue(o.Letter, o.Value); err != nil {
				return in, err
			}
		}
	}
	return in, in.readHost(l.Host)
}

func (in *Call) readValue(flag byte, value string) error {
	switch flag {
	case 'O':
		in.Control = true
	case 'l':
		in.User = value
	case 'E':
		in.Log = value
	case 'o':
		name, rest := value, ""
		if i := strings.IndexAny(value, " \t="); i >= 0 {
			name, rest = value[:i], strings.Trim(value[i:], " \t=\"")
		}
		lower, rest := strings.ToLower(name), yesOrNo(rest)
		switch level := strings.ToUpper(rest); {
		case lower == "loglevel":
			in.Quiet = slices.Contains(quietLevels, level)
			in.loud = !in.Quiet && level != usualLevel
		case lower == "forwardagent" && rest != "yes" && rest != "no":
			return fmt.Errorf("called with the agent %s", rest)
		case lower == "identityagent" && in.Agent == "":
			in.Agent = rest
		case lower == "sessiontype" && !in.sessionType(strings.ToLower(rest)):
			return fmt.Errorf("called with -o %s", name)
		}
		want, ok := sameOptions[lower]
		if !ok || want != "" && !strings.EqualFold(rest, want) {
			return fmt.Errorf("called with -o %s", name)
		}
	}
	return nil
}

// sessionType takes a SessionType of the command line, of which ssh takes the first. It reports false
// for one that is unknown, or that the protocol expresses.
func (in *Call) sessionType(value string) bool {
	if !in.typed {
		in.typed, in.Idle = true, value == "none"
	}
	return value == "none" || value == "default"
}

// yesOrNo returns the value of an option. It normalizes the forms of yes and no to those of
// ssh_config(5).
func yesOrNo(value string) string {
	switch lower := strings.ToLower(value); lower {
	case "yes", "true":
		return "yes"
	case "no", "false":
		return "no"
	}
	return value
}

// readHost reads [USER@]HOST, the last word for ssh itself. URLs may contain ports, which are not
// the mux's.
func (in *Call) readHost(host string) error {
	switch {
	case host == "" || strings.HasPrefix(host, "ssh://"):
		return fmt.Errorf("called for no host by name")
	case in.loud && !in.Control:
		return fmt.Errorf("called to tell of its connection")
	}
	if i := strings.LastIndexByte(host, '@'); i >= 0 {
		in.User = host[:i]
	}
	return nil
}
