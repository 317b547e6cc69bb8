//go:build linux

package lab

import (
	"errors"
	"os/user"
)

func (l *Lab) startLoopback() error { return errors.New("not yet") }

func currentUser() string {
	u, err := user.Current()
	if err != nil {
		return "root"
	}
	return u.Username
}
