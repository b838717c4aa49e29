set -e
mkdir -p ~/src && cd ~/src
cat > main.c <<'C'
#include <stdio.h>
int part(int);
int main(void) { printf("built %d\n", part(41)); return 0; }
C
echo 'int part(int n) { return n + 1; }' > part.c
printf 'app: main.o part.o\n\ttcc -o app main.o part.o\n%%.o: %%.c\n\ttcc -c -o $@ $<\n' > Makefile
make -s
./app | grep -qx 'built 42'
cp app /tmp/app-of-dev && /tmp/app-of-dev >/dev/null && rm /tmp/app-of-dev
