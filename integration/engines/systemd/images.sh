#!/bin/sh
# Images from this machine's own Debian, into a registry on loopback that stands for docker.io
# and quay.io: a PostgreSQL, and a web application that keeps notes in it. Run by root.
#
# images.sh setup | publish good WORD | publish broken
set -eu
work=/var/tmp/images
# Whichever PostgreSQL this Debian has.
version=$(ls /usr/lib/postgresql)
bin=/usr/lib/postgresql/$version/bin

tree() {
    [ ! -d $work ] || return 0
    mkdir -p $work/bin $work/etc $work/tmp $work/run $work/root $work/proc $work/sys $work/dev $work/usr/local/bin \
        $work/usr/share/postgresql $work$bin $work/srv/www/cgi-bin
    cp /usr/bin/busybox $work/bin/
    for name in $(busybox --list); do [ "$name" = busybox ] || ln -sf busybox "$work/bin/$name"; done
    cp -a "/usr/share/postgresql/$version" $work/usr/share/postgresql/
    cp -a "$bin/../lib" "$work$bin/.."
    rm -rf "$work$bin/../lib/bitcode"
    cp $bin/postgres $bin/initdb $bin/psql $work$bin/
    ldd $bin/postgres $bin/initdb $bin/psql | sed -n 's/.*[[:space:]]\(\/[^ ]*\) (.*/\1/p' | sort -u |
        while read -r library; do
            mkdir -p "$work$(dirname "$library")"
            cp -L "$library" "$work$library"
        done
    printf 'root:x:0:0::/root:/bin/sh\npostgres:x:999:999::/tmp:/bin/sh\n' >$work/etc/passwd
    printf 'root:x:0:\npostgres:x:999:\n' >$work/etc/group
    chmod 1777 $work/tmp
    cat >$work/usr/local/bin/database <<'EOF'
#!/bin/sh
# As the image of docker.io/postgres takes it: PGDATA, POSTGRES_USER, _PASSWORD, _DB.
set -eu
# Whichever PostgreSQL this Debian has.
version=$(ls /usr/lib/postgresql)
bin=/usr/lib/postgresql/$version/bin
mkdir -p "$PGDATA" /run/postgresql
chown -R postgres:postgres "$PGDATA" /run/postgresql
chmod 700 "$PGDATA"
as() { su -s /bin/sh postgres -c "$*"; }
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    printf '%s\n' "$POSTGRES_PASSWORD" >/tmp/password
    chown postgres /tmp/password
    as "$bin/initdb -D $PGDATA -U $POSTGRES_USER --pwfile=/tmp/password -A scram-sha-256 --no-locale -E UTF8 --no-sync"
    rm /tmp/password
    echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
    as "echo 'CREATE DATABASE $POSTGRES_DB;' | $bin/postgres --single -D $PGDATA postgres"
fi
exec su -s /bin/sh postgres -c "exec $bin/postgres -D $PGDATA -c unix_socket_directories=/run/postgresql"
EOF
    cat >$work/usr/local/bin/application <<'EOF'
#!/bin/sh
set -eu
until psql "$CMD_DB_URL" -qc 'CREATE TABLE IF NOT EXISTS notes (note text)' 2>/dev/null; do sleep 0.2; done
echo "application $(cat /srv/version): ready"
httpd -f -p "$CMD_HOST:$CMD_PORT" -h /srv/www &
trap 'exit 0' INT TERM
wait
EOF
    cat >$work/srv/www/cgi-bin/notes <<'EOF'
#!/bin/sh
printf 'Content-Type: text/plain\r\n\r\n'
[ "$REQUEST_METHOD" != POST ] || {
    note=$(head -c "$CONTENT_LENGTH")
    echo "INSERT INTO notes VALUES (:'note')" | psql "$CMD_DB_URL" -qv note="$note"
}
echo "version $(cat /srv/version)"
psql "$CMD_DB_URL" -Atc 'SELECT note FROM notes'
EOF
    ln -s "$bin/psql" $work/bin/psql
    chmod 755 $work/usr/local/bin/* $work/srv/www/cgi-bin/notes
}

# publish_as NAME COMMAND
publish_as() {
    # shellcheck disable=SC2086
    tar -C $work ${without:+"--exclude=$without"} -cf - . | podman import -q --change "CMD [\"$2\"]" --change 'ENV PATH=/usr/local/bin:/bin' \
        --change 'STOPSIGNAL SIGINT' - "localhost/$1" >/dev/null
    podman push -q --tls-verify=false "localhost/$1" "docker://localhost:5000/$1"
    podman rmi -f "localhost/$1" >/dev/null
}

setup() {
    mkdir -p /etc/containers/registries.conf.d
    for name in docker.io quay.io; do
        printf '[[registry]]\nprefix = "%s"\nlocation = "localhost:5000"\ninsecure = true\n' $name
    done >/etc/containers/registries.conf.d/loopback.conf
    cat >/etc/docker/registry/config.yml <<'EOF'
version: 0.1
storage:
  filesystem:
    rootdirectory: /var/lib/docker-registry
http:
  addr: 127.0.0.1:5000
EOF
    systemctl start docker-registry
    until curl -sf http://127.0.0.1:5000/v2/ >/dev/null; do sleep 0.1; done
    tree
    publish_as library/postgres:17 database
}

case $1 in
    setup) setup ;;
    publish)
        tree
        if [ "$2" = good ]; then
            echo "$3" >$work/srv/version
            publish_as hedgedoc/hedgedoc:latest application
        else
            without=./bin/busybox publish_as hedgedoc/hedgedoc:latest application
        fi
        ;;
esac
