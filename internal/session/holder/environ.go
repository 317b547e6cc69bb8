//go:build linux

package holder

import (
	"os"
	"slices"
	"strings"
)

// EnvSession is the variable that holds the session's name.
const EnvSession = "KEYWAY_SESSION"

// Variables for programs on a session's terminal, whatever terminal shows it: they describe
// internal/screen under a name that every image has.
const (
	envTerm  = "TERM=xterm-256color"
	envColor = "COLORTERM=truecolor"
)

// unbuffered makes Python print at once, also into a pipe, so that a job's lines can be seen early
// and are not lost when it is killed.
const unbuffered = "PYTHONUNBUFFERED"

// environment returns the caller's environment with the session's name, but without the variables
// about the caller's terminal and connection: the job outlives both and is shown on other
// terminals.
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

// ofConnection reports whether a variable describes the connection over which a session was
// started. A DISPLAY without a host is the workspace's own and does not.
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

// ofTerminal reports whether a variable describes the terminal on which a session was started, or
// the program that draws it (tmux, an editor).
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
