// Package dirs locates the files of keyway: the user's configuration (Config), keyway's records
// (State) and files that end with the login (Runtime). Every directory that it returns exists and
// is closed to other users. A directory that belongs to another user is refused.
package dirs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"keyway/internal/keyway"
)

// name is our directory's name below each of the bases.
const name = "keyway"

// private is the permission of every directory of ours: a process
// that reaches the sockets in it can use the user's keys.
const private = 0o700

// maxRuntime bounds the runtime directory's path in bytes, so that a socket in
// it still fits into sun_path: ssh and ssh-agent take paths as they are, at most
// 103 bytes on macOS and 107 on Linux (unix(7)).
const maxRuntime = 80

// Config returns the directory of the files that the user writes, config.yaml and policy.yaml:
// $XDG_CONFIG_HOME/keyway, usually ~/.config/keyway.
func Config() (string, error) {
	return below("XDG_CONFIG_HOME", "configuration", defaultConfig)
}

// State returns the directory of keyway's records: known workspaces, their host keys, and the
// ssh_config to include. It is $XDG_STATE_HOME/keyway, usually ~/.local/state/keyway.
func State() (string, error) {
	return below("XDG_STATE_HOME", "state", defaultState)
}

// Runtime returns the directory of the sockets: $XDG_RUNTIME_DIR/keyway, or
// without a usable one the first of /run/user/UID/keyway, /tmp/keyway-UID and a
// directory in State that is the user's alone. It is the same for every command
// of one user on one machine, also for those that cron or sudo start without
// XDG_RUNTIME_DIR, or they would not find each other.
func Runtime() (string, error) {
	var tried error
	for _, dir := range runtimeCandidates() {
		if len(dir) > maxRuntime {
			continue
		}
		err := makePrivate(dir)
		if err == nil {
			return dir, nil
		}
		tried = err
	}
	state, err := State()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(state, "run")
	if len(dir) > maxRuntime {
		return "", keyway.Errorf(keyway.BadConfig, "there is no directory for sockets: %s is too long for a socket's path, and no other can be used (%v)", dir, tried).
			Hint("name a private directory with a short path: export XDG_RUNTIME_DIR=/path/of/yours")
	}
	return dir, refused(dir, "runtime", makePrivate(dir))
}

// Machine returns a directory of this machine alone that outlives logins and has a short path:
// /var/tmp/keyway-UID. It is for files that cannot be in a home directory that is shared, has a
// long path, is mounted noexec, or is on a file system without sockets.
func Machine() (string, error) {
	dir := machineDir()
	return dir, refused(dir, "local", makePrivate(dir))
}

// below returns keyway's directory below the base that the variable names, or below the usual
// base. As the XDG specification demands, it ignores relative values.
func below(variable, purpose string, usual func() (string, error)) (string, error) {
	if err := checkHome(); err != nil {
		return "", err
	}
	base := os.Getenv(variable)
	if !filepath.IsAbs(base) {
		var err error
		if base, err = usual(); err != nil {
			return "", keyway.Errorf(keyway.BadConfig, "there is no directory for the %s: %w", purpose, err).
				Hint("set %s to a directory of yours", variable)
		}
	}
	dir := filepath.Join(base, name)
	return dir, refused(dir, purpose, makePrivate(dir))
}

// refused returns an error that says, in the user's terms, that dir cannot be used.
func refused(dir, purpose string, err error) error {
	switch {
	case err == nil:
		return nil
	case keyway.Is(err, keyway.NoSpace):
		return err
	case errors.Is(err, fs.ErrPermission):
		return keyway.Errorf(keyway.BadConfig, "the %s directory %s cannot be made or used: %w", purpose, dir, err).
			Hint("see who owns it: ls -ld %s", dir)
	}
	return keyway.Errorf(keyway.BadConfig, "the %s directory %s cannot be used: %w", purpose, dir, err).
		Hint("remove what is in its way, or choose another with XDG_CONFIG_HOME, XDG_STATE_HOME or XDG_RUNTIME_DIR")
}

// makePrivate makes dir, and ensures that it belongs to this user and that no other user can enter
// it. It follows a symbolic link only if the link's directory is not open to all users, as /tmp is.
func makePrivate(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), private); err != nil {
		return err
	}
	if err := os.Mkdir(dir, private); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	st, err := stat(dir)
	if err != nil {
		return err
	}
	if !st.IsDir() {
		return &fs.PathError{Op: "use", Path: dir, Err: errors.New("not a directory")}
	}
	return claim(dir, st)
}
