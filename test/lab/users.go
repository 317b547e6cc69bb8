//go:build linux

package lab

import (
	"errors"
	"fmt"
	"os"
	"strconv"
)

// AddUser adds a user to the host, which the laptop reaches as alias. The user is in no group and
// owns only the home directory.
func (l *Lab) AddUser(h *Host, name string, uid int, alias string) error {
	if l.Mode != Namespaces {
		return errors.New("a host on loopback has this machine's users")
	}
	home := "/home/" + name
	for file, line := range map[string]string{
		"/etc/passwd": fmt.Sprintf("%s:x:%d:%d::%s:/bin/bash\n", name, uid, uid, home),
		"/etc/group":  fmt.Sprintf("%s:x:%d:\n", name, uid),
		"/etc/shadow": fmt.Sprintf("%s:*:19000:0:99999:7:::\n", name),
	} {
		if err := appendTo(h.Path(file), line); err != nil {
			return err
		}
	}
	return l.settle(h, name, home, uid, alias)
}

// AddDirectoryUser is AddUser with one whom no file in /etc names: a service of the
// machine's name switch does, as SSSD would.
func (l *Lab) AddDirectoryUser(h *Host, name string, uid int, alias string) error {
	const directory = "/var/lib/extrausers"
	home := fmt.Sprintf("/home/%d", uid)
	script := `set -e
mountpoint -q "$1" || mount -t tmpfs -o mode=755 none "$1"
grep -q extrausers /etc/nsswitch.conf || sed -i 's/^\(passwd\|group\|shadow\):/& extrausers/' /etc/nsswitch.conf
printf '%s:x:%d:%d:From, a directory:%s:/bin/zsh\n' "$2" "$3" "$3" "$4" >>"$1/passwd"
printf '%s:x:%d:\n' "$2" "$3" >>"$1/group"
printf '%s:*:19000:0:99999:7:::\n' "$2" >>"$1/shadow"
`
	if _, err := h.Output("sh", "-c", script, "sh", directory, name, strconv.Itoa(uid), home); err != nil {
		return err
	}
	return l.settle(h, name, home, uid, alias)
}

// settle gives a user a home directory with the laptop's key, and the laptop an alias for the user.
func (l *Lab) settle(h *Host, name, home string, uid int, alias string) error {
	keys, err := h.ReadFile("/root/.ssh/authorized_keys")
	if err != nil {
		return err
	}
	if err := h.WriteFile(home+"/.ssh/authorized_keys", keys, 0o600); err != nil {
		return err
	}
	for _, p := range []string{home, home + "/.ssh", home + "/.ssh/authorized_keys"} {
		if err := os.Chown(h.Path(p), uid, uid); err != nil {
			return err
		}
	}
	return appendTo(l.Laptop.Path("/root/.ssh/config"),
		fmt.Sprintf("\nHost %s\n  HostName %s\n  User %s\n  ProxyJump bastion\n", alias, h.Address, name))
}

func appendTo(file, text string) error {
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
