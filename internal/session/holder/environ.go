//go:build linux

package holder

import (
	"os"
	"slices"
	"strings"
)

// EnvSession tells programs in a session how it is called.
const EnvSession = "KEYWAY_SESSION"

// What programs on a session's terminal see, whichever terminal looks at it: what
// internal/screen understands, under a name that every image knows.
const (
	envTerm  = "TERM=xterm-256color"
	envColor = "COLORTERM=truecolor"
)

// unbuffered makes Python print at once what it prints, also into a pipe: a job's
// lines are there when somebody looks, and when it is killed.
const unbuffered = "PYTHONUNBUFFERED"

// environment is the caller's own, with the session's name, and without what is true of
// the caller's terminal and connection only: the job outlives both, and is shown on
// others.
func (o Options) environment() []string {
	env := slices.DeleteFunc(os.Environ(), func(e string) bool {
		name, value, _ := strings.Cut(e, "=")
		return name == EnvSession || ofConnection(name, value) || ofTerminal(name) || o.TTY && (name == "TERM" || name == "COLORTERM")
	})
	if o.TTY {
		env = append(env, envTerm, envColor)
	} else if _, set := os.LookupEnv(unbuffered); !set {
		env = append(env, unbuffered+"=1")
	}
	return append(env, EnvSession+"="+string(o.name))
}

// ofConnection reports whether a variable speaks of the connection over which a session
// was started. A display of the workspace's own, which has no host, is none of it.
func ofConnection(name, value string) bool {
	switch name {
	case "SSH_TTY", "SSH_CLIENT", "SSH_CONNECTION", "SSH_ORIGINAL_COMMAND", "SSH_USER_AUTH", "VSCODE_IPC_HOOK_CLI":
		return true
	case "DISPLAY":
		return !strings.HasPrefix(value, ":")
	case "XAUTHORITY":
		return !strings.HasPrefix(os.Getenv("DISPLAY"), ":")
	}
	return false
}

// ofTerminal reports whether a variable speaks of the terminal, or of the program that
// draws one (tmux, an editor), on which a session was started.
func ofTerminal(name string) bool {
	switch name {
	case "TERMCAP", "TERMINFO", "LINES", "COLUMNS", "COLORFGBG", "WINDOWID", "GPG_TTY", "STY", "WINDOW", "NVIM", "INSIDE_EMACS",
		"WT_SESSION", "WT_PROFILE_ID", "TERMINATOR_UUID", "TILIX_ID":
		return true
	}
	for _, prefix := range []string{
		"TERM_", "LC_TERMINAL", "TMUX", "ZELLIJ", "KITTY_", "ITERM_", "VTE_", "KONSOLE_", "ALACRITTY_", "WEZTERM_", "GHOSTTY_",
		"XTERM_", "GNOME_TERMINAL_",
	} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}
