//go:build linux

package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	sshdProgram = "/usr/sbin/sshd"
	keyFile     = "/root/.ssh/id_ed25519"
	askpassFile = "/root/.lab/askpass"
	promptsFile = "/root/.lab/prompts"
	wordFile    = "/root/.lab/passphrase"
)

// startSSH gives the laptop a key with a passphrase and a configuration, and
// starts the two stock sshds.
func (l *Lab) startSSH() error {
	if err := l.makeKey(); err != nil {
		return err
	}
	var known strings.Builder
	for _, h := range []*Host{l.Bastion, l.GPU} {
		line, err := h.prepareSSHD()
		if err != nil {
			return err
		}
		known.WriteString(line)
		l.onClose(func() error { h.KillSSHD(); return nil })
		if err := h.StartSSHD(); err != nil {
			return err
		}
	}
	return errors.Join(
		l.Laptop.WriteFile("/root/.ssh/known_hosts", known.String(), 0o600),
		l.Laptop.WriteFile("/root/.ssh/config", l.sshConfig(), 0o600),
		l.Laptop.WriteFile(wordFile, l.Passphrase+"\n", 0o600),
		l.Laptop.WriteFile(promptsFile, "", 0o600),
		l.Laptop.WriteFile(askpassFile, l.askpass(), 0o700),
	)
}

// makeKey makes the laptop's key. Few rounds: the passphrase protects nothing.
func (l *Lab) makeKey() error {
	key := l.Laptop.Path(keyFile)
	if err := os.MkdirAll(filepath.Dir(key), 0o700); err != nil {
		return err
	}
	return keygen(key, l.Passphrase, "lab@laptop")
}

func keygen(file, passphrase, comment string) error {
	out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-a", "1", "-N", passphrase, "-C", comment, "-f", file).CombinedOutput()
	if err != nil {
		return fmt.Errorf("lab: ssh-keygen: %w: %s", err, out)
	}
	return nil
}

// sshConfig returns the configuration that a user of such a place writes.
func (l *Lab) sshConfig() string {
	return fmt.Sprintf(`Host bastion
  HostName %s
  Port %d
  User %s

Host gpu1
  HostName %s
  Port %d
  User %s
  ProxyJump bastion
%s`, l.Bastion.Address, l.Bastion.Port, l.user(), l.GPU.Address, l.GPU.Port, l.user(), l.loopbackConfig())
}

// askpass answers each question with the next word, and all further ones with the last word. It
// records the questions.
func (l *Lab) askpass() string {
	return fmt.Sprintf(`#!/bin/sh
printf '%%s\n' "$1" >>%[1]s
head -n 1 %[2]s
[ "$(wc -l <%[2]s)" -le 1 ] || sed -i 1d %[2]s
`, l.Laptop.Inside(promptsFile), l.Laptop.Inside(wordFile))
}

// Inside returns the path by which a program on the host names one of the host's own files.
func (h *Host) Inside(p string) string {
	if h.pid != 0 {
		return p
	}
	return h.Path(p)
}

// AskpassEnv makes ssh-add and ssh ask the lab's askpass program, which knows the passphrase and
// counts.
func (l *Lab) AskpassEnv() []string {
	return []string{"SSH_ASKPASS=" + l.Laptop.Inside(askpassFile), "SSH_ASKPASS_REQUIRE=force", "DISPLAY=:lab"}
}

// Prompts returns the questions that were asked so far.
func (l *Lab) Prompts() []string {
	text, _ := l.Laptop.ReadFile(promptsFile)
	return strings.FieldsFunc(text, func(r rune) bool { return r == '\n' })
}

// Answer sets the answers to further questions: one word each, and the last one for all after.
func (l *Lab) Answer(words ...string) error {
	return l.Laptop.WriteFile(wordFile, strings.Join(words, "\n")+"\n", 0o600)
}

// prepareSSHD makes host keys, a configuration and authorized_keys, and returns
// the line for known_hosts.
func (h *Host) prepareSSHD() (known string, err error) {
	dir := h.Path(h.sshdDir())
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	if err := h.NewHostKey(); err != nil {
		return "", err
	}
	pub, err := os.ReadFile(h.lab.Laptop.Path(keyFile + ".pub"))
	if err != nil {
		return "", err
	}
	err = errors.Join(
		h.WriteFile("/root/.ssh/authorized_keys", string(pub), 0o600),
		h.WriteFile(h.sshdDir()+"/sshd_config", h.sshdConfig(), 0o600),
		os.MkdirAll(h.Path("/run/sshd"), 0o755))
	if err != nil {
		return "", err
	}
	host, err := os.ReadFile(filepath.Join(dir, "host_key.pub"))
	name := h.Address
	if h.Port != 22 {
		name = fmt.Sprintf("[%s]:%d", h.Address, h.Port)
	}
	return name + " " + string(host), err
}

// NewHostKey gives the host another key, from the next StartSSHD on.
func (h *Host) NewHostKey() error {
	file := filepath.Join(h.Path(h.sshdDir()), "host_key")
	_ = os.Remove(file)
	return keygen(file, "", "")
}

func (h *Host) sshdDir() string {
	if h.pid != 0 {
		return "/etc/ssh/lab"
	}
	return "/srv/sshd"
}

// sshdConfig is Debian's, without PAM (which would want this machine's
// services) and with room for many clients at once.
func (h *Host) sshdConfig() string {
	dir := h.Inside(h.sshdDir())
	c := fmt.Sprintf(`Port %d
ListenAddress %s
HostKey %s/host_key
PidFile none
AuthorizedKeysFile %s
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
X11Forwarding yes
PrintMotd no
AcceptEnv LANG LC_*
MaxStartups 1000
Subsystem sftp %s
`, h.Port, h.Address, dir, h.authorizedKeys(), sftpServer())
	if h.pid == 0 {
		// The home directory comes from the system's passwd; this stands in for it.
		c += "StrictModes no\nForceCommand " + h.Inside("/srv/login") + "\n"
	}
	return c
}

func (h *Host) authorizedKeys() string {
	if h.pid != 0 {
		return ".ssh/authorized_keys"
	}
	return h.Path("/root/.ssh/authorized_keys")
}

func sftpServer() string {
	for _, p := range []string{"/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/libexec/sftp-server"} {
		if executable(p) {
			return p
		}
	}
	return "internal-sftp"
}

// StartSSHD starts the host's sshd and returns when it listens.
func (h *Host) StartSSHD() error {
	d, err := h.startDaemon(h.Name+"-sshd.log", "Server listening", sshdProgram, "-D", "-e", "-f", h.Inside(h.sshdDir())+"/sshd_config")
	if err != nil {
		return err
	}
	h.sshd = d
	return nil
}

// KillSSHD kills the host's sshd and the process of every connection, without warning, as a crash
// or a reboot does.
func (h *Host) KillSSHD() {
	if h.sshd == nil {
		return
	}
	h.KillConnections()
	_ = h.sshd.cmd.Process.Signal(syscall.SIGTERM)
	_ = Kill(syscall.SIGKILL, h.Processes("sshd")...)
	h.sshd.stop(syscall.SIGTERM)
	// Between the two rounds a connection may have begun.
	_ = Kill(syscall.SIGKILL, h.Processes("sshd")...)
	h.sshd = nil
}

// KillConnections kills the processes of every connection to the host's sshd,
// and returns how many there were.
func (h *Host) KillConnections() int {
	pids := h.Sessions()
	_ = Kill(syscall.SIGKILL, pids...)
	return len(pids)
}

// isListener reports whether pid is the sshd that listens: we (or labtool and
// setpriv, which became it) started it, no other sshd did.
func (h *Host) isListener(pid int) bool {
	p := parent(pid)
	comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", p))
	return strings.TrimSpace(string(comm)) != "sshd"
}

// user returns the user as whom the laptop logs in on the other hosts.
func (l *Lab) user() string {
	if l.Mode == Namespaces {
		return "root"
	}
	return currentUser()
}
