package mux

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Options of ssh(1) that mean the same with a mux: without a value, and with one. Any other option,
// including those of later versions, needs an ssh that connects by itself. A client cannot say in
// the protocol that it wants no session (-N); with a mux it does not go to the background (-f);
// other keys, addresses or jump hosts are not the mux's; and it has no connection of its own to
// report (-v), which editors read.
const (
	plainFlags = "46AaCknqsTtvxy"
	valueFlags = "DeELlORWo"
)

// sameOptions are the options of ssh_config(5) on the command line that mean the same with a mux,
// with their required value; empty means any.
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
	"sessiontype":             "default",
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

// invocation describes the call of an ssh.
type invocation struct {
	control bool // ssh -O
	quiet   bool // only error messages
	loud    bool // it reports its connection
	user    string
}

// readArgs reads the command line of an ssh. The error is the reason for which it must connect by
// itself.
func readArgs(args []string) (in invocation, err error) {
	if len(args) == 0 || path.Base(args[0]) != "ssh" {
		return in, fmt.Errorf("not called as ssh")
	}
	host, words, ended := "", args[1:], false
	for i := 0; i < len(words); i++ {
		word := words[i]
		switch {
		case !ended && word == "--":
			ended = true
		case !ended && len(word) > 1 && word[0] == '-':
			used, err := in.readFlags(word[1:], words[i+1:])
			if err != nil {
				return in, err
			}
			i += used
		case host == "":
			host = word
		default: // the command
			return in, in.readHost(host)
		}
	}
	return in, in.readHost(host)
}

// readFlags reads the letters of a word. used is the number of following words that belong to them.
func (in *invocation) readFlags(letters string, next []string) (used int, err error) {
	for i := 0; i < len(letters); i++ {
		c := letters[i]
		if strings.IndexByte(plainFlags, c) >= 0 {
			in.quiet, in.loud = in.quiet || c == 'q', in.loud || c == 'v'
			continue
		}
		if strings.IndexByte(valueFlags, c) < 0 {
			return 0, fmt.Errorf("called with -%c", c)
		}
		value := letters[i+1:]
		if value == "" {
			if len(next) == 0 {
				return 0, fmt.Errorf("called with -%c alone", c)
			}
			value, used = next[0], 1
		}
		return used, in.readValue(c, value)
	}
	return 0, nil
}

func (in *invocation) readValue(flag byte, value string) error {
	switch flag {
	case 'O':
		in.control = true
	case 'l':
		in.user = value
	case 'o':
		name, rest := value, ""
		if i := strings.IndexAny(value, " \t="); i >= 0 {
			name, rest = value[:i], strings.Trim(value[i:], " \t=\"")
		}
		lower, rest := strings.ToLower(name), yesOrNo(rest)
		switch level := strings.ToUpper(rest); {
		case lower == "loglevel":
			in.quiet = slices.Contains(quietLevels, level)
			in.loud = !in.quiet && level != usualLevel
		case lower == "forwardagent" && rest != "yes" && rest != "no":
			return fmt.Errorf("called with the agent %s", rest)
		}
		want, ok := sameOptions[lower]
		if !ok || want != "" && !strings.EqualFold(rest, want) {
			return fmt.Errorf("called with -o %s", name)
		}
	}
	return nil
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
func (in *invocation) readHost(host string) error {
	switch {
	case host == "" || strings.HasPrefix(host, "ssh://"):
		return fmt.Errorf("called for no host by name")
	case in.loud && !in.control:
		return fmt.Errorf("called to tell of its connection")
	}
	if i := strings.LastIndexByte(host, '@'); i >= 0 {
		in.user = host[:i]
	}
	return nil
}
