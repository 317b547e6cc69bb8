package agentd

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"keyway/internal/keyway"
)

// The agent as a service of the user. systemd listens and starts it when somebody
// asks; the order of the sockets says which is which. What the agent starts
// (helpers of security keys, pinentry) inherits the address families.
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

// serviceFiles are those for the system, and the command that starts the service.
func serviceFiles(system, home, program string) (files []serviceFile, start string, err error) {
	switch system {
	case "linux":
		dir := filepath.Join(home, ".config", "systemd", "user")
		if base := os.Getenv("XDG_CONFIG_HOME"); filepath.IsAbs(base) {
			dir = filepath.Join(base, "systemd", "user")
		}
		quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "%", "%%").Replace(program) + `"`
		return []serviceFile{
			{filepath.Join(dir, "keyway-agent.socket"), socketUnit},
			{filepath.Join(dir, "keyway-agent.service"), strings.Replace(serviceUnit, "PROGRAM", quoted, 1)},
		}, "systemctl --user daemon-reload && systemctl --user enable --now keyway-agent.socket", nil
	case "darwin":
		path := filepath.Join(home, "Library", "LaunchAgents", "keyway.agent.plist")
		escaped := strings.NewReplacer("&", "&amp;", "<", "&lt;").Replace(program)
		return []serviceFile{{path, strings.Replace(launchdPlist, "PROGRAM", escaped, 1)}}, "launchctl bootstrap gui/$(id -u) " + path, nil
	}
	return nil, "", keyway.Errorf(keyway.Usage, "there is no service for %s here", system).Advise(keyway.AgentByUnlock)
}

// InstallService writes the files that make program the agent of the user whose home
// directory is home, and tells how to start it.
func InstallService(home, program string, news io.Writer) error {
	files, start, err := serviceFiles(runtime.GOOS, home, program)
	if err != nil {
		return err
	}
	for _, f := range files {
		err := os.MkdirAll(filepath.Dir(f.path), 0o755)
		if err == nil {
			err = keyway.WriteFile(f.path, []byte(f.text), 0o644)
		}
		if err != nil {
			return keyway.Errorf(keyway.BadConfig, "the service cannot be written: %w", err)
		}
		fmt.Fprintf(news, "wrote %s\n", f.path)
	}
	fmt.Fprintf(news, "start the agent with every login:\n  %s\n", start)
	return nil
}
