package event

// Shells lists the paths of the programs that are shells unless the policy says
// otherwise in data.bailiff.shells: those that distributions put into /etc/shells. Most
// exist on no machine, and some are links to others.
func Shells() []string {
	var out []string
	for _, dir := range []string{"/bin/", "/usr/bin/", "/usr/local/bin/"} {
		for _, name := range []string{"ash", "bash", "csh", "dash", "fish", "ksh", "mksh", "rbash", "sh", "tcsh", "zsh"} {
			out = append(out, dir+name)
		}
	}
	return out
}
