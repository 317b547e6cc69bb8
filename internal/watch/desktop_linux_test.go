package watch

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// desktopOf returns a bus of the test's own with a desktop that shows notifications. shown waits
// for the next one.
func desktopOf(t *testing.T) (shown func() string) {
	t.Helper()
	address := "unix:path=" + filepath.Join(t.TempDir(), "bus")
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", address)
	serve(t, "dbus-daemon", "--session", "--nofork", "--print-address", "--address="+address)
	desktop := serve(t, "/usr/bin/python3", "-u", "-c", desktopScript)
	return func() string {
		t.Helper()
		line, err := desktop.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return line
	}
}

// serve runs a program until the end of the test. It returns after the program's first line, with a
// reader of the others.
func serve(t *testing.T, program string, args ...string) *bufio.Reader {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	lines := bufio.NewReader(out)
	if _, err := lines.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	return lines
}

// desktopScript serves the Notify method of the Desktop Notifications Specification.
const desktopScript = `
from gi.repository import Gio, GLib
name = "org.freedesktop.Notifications"
interface = Gio.DBusNodeInfo.new_for_xml('''<node><interface name="%s">
<method name="GetServerInformation"><arg type="s" direction="out"/><arg type="s" direction="out"/>
<arg type="s" direction="out"/><arg type="s" direction="out"/></method>
<method name="GetCapabilities"><arg type="as" direction="out"/></method>
<method name="Notify"><arg type="s" direction="in"/><arg type="u" direction="in"/><arg type="s" direction="in"/>
<arg type="s" direction="in"/><arg type="s" direction="in"/><arg type="as" direction="in"/><arg type="a{sv}" direction="in"/>
<arg type="i" direction="in"/><arg type="u" direction="out"/></method></interface></node>''' % name).interfaces[0]
def called(bus, sender, path, of, method, args, call):
    if method == "Notify":
        app, _, _, title, text = args.unpack()[:5]
        print(repr((app, title, text)))
        call.return_value(GLib.Variant("(u)", (1,)))
    elif method == "GetCapabilities":
        call.return_value(GLib.Variant("(as)", (["body"],)))
    else:
        call.return_value(GLib.Variant("(ssss)", ("test", "test", "1", "1.2")))
bus = Gio.bus_get_sync(Gio.BusType.SESSION)
bus.register_object("/org/freedesktop/Notifications", interface, called, None, None)
Gio.bus_own_name_on_connection(bus, name, 0, lambda *_: print("ready"), None)
GLib.MainLoop().run()
`

func TestTheDesktopIsToldOfTheEnd(t *testing.T) {
	shown := desktopOf(t)
	tell := Teller(t.Context(), filepath.Join(t.TempDir(), "config.yaml"), quiet)
	for want, e := range map[string]End{
		"('keyway', 'train/exp7 finished', '--help & <b>%s')\n":                {},
		"('keyway', 'train/exp7 out of memory (SIGKILL)', '--help & <b>%s')\n": {Code: 137, Signal: "SIGKILL", OOM: true},
	} {
		tell(Job{Workspace: "train", Session: "exp7", Command: "--help & <b>%s"}, e)
		if got := shown(); got != want {
			t.Errorf("it shows %q, want %q", got, want)
		}
	}
}
