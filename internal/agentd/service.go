package agentd

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"keyway/internal/keyway"
	"keyway/internal/plain"
)

// The agent as a service of the user. systemd listens, and starts it at the first request. The
// order of the sockets tells which is which. Programs that the agent starts (helpers of security
// keys, pinentry) inherit the address families.
const (
	socketUnit = `[Unit]
Description=Sockets of keyway's SSH agent

[Socket]
ListenStream=%t/keyway/agent.sock
ListenStream=%t/keyway/forward.sock
SocketMode=0600
DirectoryMode=0700

[Install]
WantedBy=sockets.target
`
	serviceUnit = `[Unit]
Description=keyway's SSH agent: it knows where every signature goes
Requires=keyway-agent.socket

[Service]
ExecStart=PROGRAM agent -D
ExecReload=kill -USR2 $MAINPID
LimitCORE=0
MemorySwapMax=0
NoNewPrivileges=yes
RestrictAddressFamilies=AF_UNIX AF_NETLINK

[Install]
Also=keyway-agent.socket
`
	launchdPlist = `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
	<key>Label</key><string>keyway.agent</string>
	<key>ProgramArguments</key>
	<array><string>PROGRAM</string><string>agent</string><string>-D</string><string>-O</string><string>runtime</string></array>
	<key>RunAtLoad</key><true/>
	<key>KeepAlive</key><true/>
</dict>
</plist>
`
)

// serviceFile is a file that makes the agent a service.
type serviceFile struct{ path, text string }

// service describes the agent as a user's service: the files, and the shell commands that start
// it and remove it.
type service struct {
	files      []serviceFile
	start, end string
}

// serviceOf returns the description of program as a service of the system.
func serviceOf(system, home, program string) (service, error) {
	switch system {
	case "linux":
		dir := filepath.Join(home, ".config", "systemd", "user")
		if base := os.Getenv("XDG_CONFIG_HOME"); filepath.IsAbs(base) {
			dir = filepath.Join(base, "systemd", "user")
		}
		quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "%", "%%").Replace(program) + `"`
		socket, unit := filepath.Join(dir, "keyway-agent.socket"), filepath.Join(dir, "keyway-agent.service")
		return service{
			files: []serviceFile{{socket, socketUnit}, {unit, strings.Replace(serviceUnit, "PROGRAM", quoted, 1)}},
			start: "systemctl --user daemon-reload && systemctl --user enable --now keyway-agent.socket",
			end:   "systemctl --user disable --now keyway-agent.socket keyway-agent.service; rm -f " + plain.Shell(socket) + " " + plain.Shell(unit),
		}, nil
	case "darwin":
		path := filepath.Join(home, "Library", "LaunchAgents", "keyway.agent.plist")
		escaped := strings.NewReplacer("&", "&amp;", "<", "&lt;").Replace(program)
		return service{
			files: []serviceFile{{path, strings.Replace(launchdPlist, "PROGRAM", escaped, 1)}},
			start: "launchctl bootstrap gui/$(id -u) " + plain.Shell(path),
			end:   "launchctl bootout gui/$(id -u)/keyway.agent; rm -f " + plain.Shell(path),
		}, nil
	}
	return service{}, keyway.Errorf(keyway.Usage, "there is no service for %s here", system).Advise(keyway.AgentByUnlock)
}

// InstallService writes the files that make program the agent of the user whose home
// directory is home, and tells how to start it.
func InstallService(home, program string, news io.Writer) error {
	s, err := serviceOf(runtime.GOOS, home, program)
	if err != nil {
		return err
	}
	for _, f := range s.files {
		err := os.MkdirAll(filepath.Dir(f.path), 0o755)
		if err == nil {
			err = keyway.WriteFile(f.path, []byte(f.text), 0o644)
		}
		if err != nil {
			return keyway.Errorf(keyway.BadConfig, "the service cannot be written: %w", err)
		}
		fmt.Fprintf(news, "wrote %s\n", f.path)
	}
	fmt.Fprintf(news, "start the agent with every login:\n  %s\n", s.start)
	return nil
}

// EndOfService returns the shell command that ends an agent which runs as a service of the user
// whose home directory is home. It is empty if none is installed.
func EndOfService(home string) string {
	s, err := serviceOf(runtime.GOOS, home, "")
	if err != nil || !slices.ContainsFunc(s.files, func(f serviceFile) bool { _, err := os.Lstat(f.path); return err == nil }) {
		return ""
	}
	return s.end
}
