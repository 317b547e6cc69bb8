//go:build linux

package lab

import (
	"errors"
	"fmt"
	"os"
)

// AddUser gives the host another user, whom the laptop reaches as alias: one
// who is in no group and owns nothing but the home directory.
func (l *Lab) AddUser(h *Host, name string, uid int, alias string) error {
	if l.Mode != Namespaces {
		return errors.New("a host on loopback has this machine's users")
	}
	home := "/home/" + name
	keys, err := h.ReadFile("/root/.ssh/authorized_keys")
	if err != nil {
		return err
	}
	for file, line := range map[string]string{
		"/etc/passwd": fmt.Sprintf("%s:x:%d:%d::%s:/bin/bash\n", name, uid, uid, home),
		"/etc/group":  fmt.Sprintf("%s:x:%d:\n", name, uid),
		"/etc/shadow": fmt.Sprintf("%s:*:19000:0:99999:7:::\n", name),
	} {
		if err := appendTo(h.Path(file), line); err != nil {
			return err
		}
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
