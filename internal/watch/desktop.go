package watch

import "runtime"

// desktop returns the command line that shows a notification, and the variables that it needs; nil
// if there is none. The texts are never a part of a script.
func desktop(title, text string) (argv, env []string) {
	switch runtime.GOOS {
	case "darwin":
		return []string{"osascript", "-e", "on run argv", "-e",
			"display notification (item 2 of argv) with title (item 1 of argv)", "-e", "end run", title, text}, nil
	case "windows":
		return []string{"powershell", "-NoProfile", "-NonInteractive", "-Command", toast}, []string{"KEYWAY_TITLE=" + title, "KEYWAY_TEXT=" + text}
	case "linux":
		return []string{"notify-send", "--app-name=keyway", "--", title, text}, nil
	}
	return nil, nil
}

// toast is for the shell that every Windows has.
const toast = `$m = [Windows.UI.Notifications.ToastNotificationManager, Windows.UI.Notifications, ContentType = WindowsRuntime]
$x = $m::GetTemplateContent([Windows.UI.Notifications.ToastTemplateType]::ToastText02)
$t = $x.GetElementsByTagName('text')
$null = $t.Item(0).AppendChild($x.CreateTextNode($env:KEYWAY_TITLE))
$null = $t.Item(1).AppendChild($x.CreateTextNode($env:KEYWAY_TEXT))
$m::CreateToastNotifier('{1AC14E77-02E7-4E5D-B744-2EB1AE5198B7}\WindowsPowerShell\v1.0\powershell.exe').Show([Windows.UI.Notifications.ToastNotification, Windows.UI.Notifications, ContentType = WindowsRuntime]::new($x))`
