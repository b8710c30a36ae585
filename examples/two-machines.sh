#!/bin/sh
# Two machines keep the same mail, from the first bundle on: sh examples/two-machines.sh
#
# Both "machines" are directories below a temporary one that is removed at the end. Each has its mail, the home of its
# replica, and a link to the same USB stick; their mail is a copy of the trees in fixtures/. What is printed behind a prompt,
# such as desktop$, is what you would type on that machine; it is also exactly what runs. Messages are added, flagged, moved
# and removed with the plain file commands that mail programs come down to.
#
# MAILSYNC=PATH runs that mailsync instead of building one.

set -eu

repository=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)

if [ -z "${MAILSYNC:-}" ]; then
    (cd "$repository" && cargo build --locked)
    MAILSYNC=${CARGO_TARGET_DIR:-$repository/target}/debug/mailsync
fi
case $MAILSYNC in
/*) ;;
*) MAILSYNC=$PWD/$MAILSYNC ;;
esac
if [ ! -x "$MAILSYNC" ]; then
    echo "there is no program $MAILSYNC" >&2
    exit 1
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/two-machines.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' HUP INT TERM

mkdir "$work/bin" "$work/stick" "$work/desktop" "$work/server"
ln -s "$MAILSYNC" "$work/bin/mailsync"
PATH=$work/bin:$PATH
for machine in desktop server; do
    ln -s ../stick "$work/$machine/stick"
done
cp -R "$repository/fixtures/fs" "$work/desktop/Mail"
cp -R "$repository/fixtures/maildir++" "$work/server/Maildir"

# Says what comes next.
title() {
    printf '\n# %s\n\n' "$*"
}

# on MACHINE COMMANDLINE: shows the command line, and runs it there.
on() {
    printf '%s$ %s\n' "$1" "$2"
    (cd "$work/$1" && MAILSYNC_HOME=$work/$1/home sh -c "$2" 2>&1)
}

hash_of() {
    if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi | cut -c 1-64
}

# The canonical name of a folder, from its directory: the fixtures' names are all that this has to know.
folder_name() {
    case $1 in
    desktop) printf '%s\n' "$2" ;;
    server)
        printf '%s\n' "${2:-.INBOX}" | sed -e 's|^\.||' -e 's|\.|/|g' -e 's|\\2e|.|g' \
            -e 's|&APw-|ü|g' -e 's|&ANw-|Ü|g' -e 's|&MOEw4g-|メモ|g' -e 's|&-|\&|g'
        ;;
    esac
}

# holds MACHINE MAILROOT: a line for each message: its folder, new or cur, its flags, and the SHA-256 of its bytes.
holds() {
    (
        cd "$work/$1/$2"
        find . -type f ! -name '.*' | while IFS= read -r file; do
            place=${file%/*}
            name=${file##*/}
            case ${place##*/} in
            new | cur) ;;
            *) continue ;;
            esac
            case $name in
            *:2,*) flags=${name##*:2,} ;;
            *) flags= ;;
            esac
            # A letter of a keyword means something in its folder only: dovecot-keywords there says what.
            flags=$(printf %s "$flags" | tr -d 'a-z')
            directory=${place%/*}
            directory=${directory#.}
            printf '%s %s [%s] %s\n' "$(folder_name "$1" "${directory#/}")" "${place##*/}" "$flags" "$(hash_of <"$file")"
        done | LC_ALL=C sort
    )
}

# Compares what lies on both disks, without asking mailsync.
check() {
    holds desktop Mail >"$work/desktop.holds"
    holds server Maildir >"$work/server.holds"
    if ! diff "$work/desktop.holds" "$work/server.holds"; then
        echo "FAILED: the desktop (<) and the server (>) don't hold the same" >&2
        exit 1
    fi
    count=$(wc -l <"$work/desktop.holds")
    printf 'checked: both hold the same %d messages, by folder, flags and SHA-256\n' "$count"
}

# expect WHAT PATTERN: the check found this on both.
expect() {
    if ! grep -q -e "$2" "$work/desktop.holds"; then
        echo "FAILED: $1" >&2
        exit 1
    fi
    printf 'checked: %s\n' "$1"
}

title "Each machine makes a replica of its mail, and puts its public key on the stick. The layouts differ."
on desktop 'mailsync init Mail --name desktop > stick/desktop.pub'
on server 'mailsync init Maildir --name server > stick/server.pub'

title "Each makes the other one known."
on desktop 'mailsync peer add server --key stick/server.pub'
on server 'mailsync peer add desktop --key stick/desktop.pub'

title "The first exchange: a full bundle there, and back what was only there. Equal messages don't become two."
on desktop 'mailsync export -o stick/'
on server 'mailsync import --consume stick/'
on server 'mailsync export -o stick/'
on desktop 'mailsync import --consume stick/'
check

title "Changes on the desktop: a new message, and a flag (F: flagged)."
on desktop "printf 'From: me@example.net\nSubject: bread\n\nOne loaf.\n' > Mail/INBOX/new/1735700001.1.desktop"
bread=$(hash_of <"$work/desktop/Mail/INBOX/new/1735700001.1.desktop")
flagged='Mail/INBOX/cur/1704103200.4100_1.laptop,U=1:2'
pot=$(hash_of <"$work/desktop/$flagged,S")
on desktop "mv '$flagged,S' '$flagged,FS'"

title "Changes on the server meanwhile: another flag of the same message (R: replied), a move, and a removal."
replied=Maildir/cur/1704103200.M104729P310.server,S=248,W=259:2
moved=$(hash_of <"$work/server/Maildir/cur/1704794400.M837832P317.server,S=631,W=647:2,S")
removed=$(hash_of <"$work/server/Maildir/cur/1704880800.M942561P318.server,S=177,W=184:2,ST")
on server "mv '$replied,S' '$replied,RS'"
on server 'mv Maildir/cur/1704794400.* Maildir/.Archive.2024/cur/'
on server 'rm Maildir/cur/1704880800.*'

title "The second exchange, by stick again: bundles hold only what changed."
on desktop 'mailsync export -o stick/'
on server 'mailsync import --consume stick/'
on server 'mailsync export -o stick/'
on desktop 'mailsync import --consume stick/'
check
expect "the new message has arrived" "^INBOX new \[\] $bread\$"
expect "both flags of the one message hold" "^INBOX cur \[FRS\] $pot\$"
expect "the moved message is in Archive/2024" "^Archive/2024 cur \[S\] $moved\$"
if grep -q "$removed" "$work/desktop.holds"; then
    echo "FAILED: the removed message is still there" >&2
    exit 1
fi

title "What the server removed is in the desktop's trash; it can be brought back."
on desktop 'mailsync trash list'
on desktop 'mailsync trash restore 1'

title "Both directions in one line. Between two machines its middle would be: ssh server mailsync import --reply"
on server "printf 'From: you@example.net\nSubject: milk\n\nTwo pints.\n' > Maildir/new/1735700002.1.server"
on desktop 'mailsync export --to server | mailsync --home ../server/home import --reply | mailsync import'
check
expect "the restored message is back" "^INBOX cur \[ST\] $removed\$"

title "Nothing is left to do."
on desktop 'mailsync export --to server | mailsync --home ../server/home import --reply | mailsync import'
on desktop 'mailsync status'
check
