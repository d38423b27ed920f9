/* Logs in with libstrophe, and asks or answers; see README.md for what every client here does. */

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strophe.h>

static struct {
    const char *role, *jid, *password, *host, *port, *tls, *mechanism, *ca, *cert, *key, *to, *text;
} args;

static int outcome = 1;

static void send_text(xmpp_conn_t *conn, const char *to, const char *text)
{
    xmpp_stanza_t *message = xmpp_message_new(xmpp_conn_get_context(conn), "chat", to, "c1");
    xmpp_message_set_body(message, text);
    xmpp_send(conn, message);
    xmpp_stanza_release(message);
}

static void end(xmpp_conn_t *conn, int code)
{
    outcome = code;
    xmpp_disconnect(conn);
}

static int on_message(xmpp_conn_t *conn, xmpp_stanza_t *stanza, void *unused)
{
    const char *type = xmpp_stanza_get_type(stanza), *from = xmpp_stanza_get_from(stanza);
    char *body = xmpp_message_get_body(stanza);
    (void)unused;
    if (type && !strcmp(type, "error")) {
        fprintf(stderr, "an error came from %s\n", from);
        end(conn, 1);
    } else if (body) {
        printf("heard %s %s\n", from, body);
        fflush(stdout);
        if (!strcmp(args.role, "answer")) {
            char answer[512];
            snprintf(answer, sizeof answer, "re: %s", body);
            send_text(conn, from, answer);
        }
        end(conn, 0);
    }
    if (body)
        xmpp_free(xmpp_conn_get_context(conn), body);
    return 1;
}

static int on_pong(xmpp_conn_t *conn, xmpp_stanza_t *stanza, void *unused)
{
    const char *type = xmpp_stanza_get_type(stanza);
    (void)unused;
    end(conn, type && !strcmp(type, "result") ? 0 : 1);
    return 0;
}

static void ping(xmpp_conn_t *conn)
{
    xmpp_ctx_t *ctx = xmpp_conn_get_context(conn);
    xmpp_stanza_t *iq = xmpp_iq_new(ctx, "get", "ping1"), *ping = xmpp_stanza_new(ctx);
    char *domain = xmpp_jid_domain(ctx, xmpp_conn_get_bound_jid(conn));
    xmpp_stanza_set_name(ping, "ping");
    xmpp_stanza_set_ns(ping, "urn:xmpp:ping");
    xmpp_stanza_set_to(iq, domain);
    xmpp_stanza_add_child(iq, ping);
    xmpp_id_handler_add(conn, on_pong, "ping1", NULL);
    xmpp_send(conn, iq);
    xmpp_stanza_release(ping);
    xmpp_stanza_release(iq);
    xmpp_free(ctx, domain);
}

static void on_connection(xmpp_conn_t *conn, xmpp_conn_event_t event, int error,
                          xmpp_stream_error_t *stream_error, void *ctx)
{
    xmpp_stanza_t *presence;
    if (event != XMPP_CONN_CONNECT) {
        if (error || stream_error)
            fprintf(stderr, "disconnected: error %d, stream error %d\n", error, stream_error ? (int)stream_error->type : -1);
        xmpp_stop(ctx);
        return;
    }
    if (!xmpp_conn_is_secured(conn)) {
        fprintf(stderr, "the connection is not secured\n");
        end(conn, 1);
        return;
    }
    printf("bound %s\n", xmpp_conn_get_bound_jid(conn));
    fflush(stdout);
    presence = xmpp_presence_new(ctx);
    xmpp_send(conn, presence);
    xmpp_stanza_release(presence);
    xmpp_handler_add(conn, on_message, NULL, "message", NULL, NULL);
    if (!strcmp(args.role, "login"))
        ping(conn);
    else if (!strcmp(args.role, "ask"))
        send_text(conn, args.to, args.text);
}

/* The library says which mechanism it tried only in its log. */
static void on_log(void *unused, xmpp_log_level_t level, const char *area, const char *message)
{
    const char *start = strstr(message, "mechanism=\"");
    (void)unused;
    if (start && !strncmp(message, "SENT", 4))
        printf("mechanism %.*s\n", (int)strcspn(start + 11, "\""), start + 11);
    if (getenv("STROPHE_DEBUG"))
        fprintf(stderr, "%d %s %s\n", level, area, message);
}

static void parse(int argc, char **argv)
{
    const char **slots[] = {&args.role, &args.jid, &args.password, &args.host, &args.port, &args.tls,
                            &args.mechanism, &args.ca, &args.cert, &args.key, &args.to, &args.text};
    static const struct option options[] = {
        {"role", 1, 0, 0}, {"jid", 1, 0, 1}, {"password", 1, 0, 2}, {"host", 1, 0, 3},
        {"port", 1, 0, 4}, {"tls", 1, 0, 5}, {"mechanism", 1, 0, 6}, {"ca", 1, 0, 7},
        {"cert", 1, 0, 8}, {"key", 1, 0, 9}, {"to", 1, 0, 10}, {"text", 1, 0, 11}, {0, 0, 0, 0}};
    int found;
    while ((found = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (found == '?')
            exit(2);
        *slots[found] = optarg;
    }
}

int main(int argc, char **argv)
{
    xmpp_log_t log = {on_log, NULL};
    xmpp_ctx_t *ctx;
    xmpp_conn_t *conn;

    parse(argc, argv);
    xmpp_initialize();
    ctx = xmpp_ctx_new(NULL, &log);
    conn = xmpp_conn_new(ctx);
    xmpp_conn_set_flags(conn, !strcmp(args.tls, "direct") ? XMPP_CONN_FLAG_LEGACY_SSL : XMPP_CONN_FLAG_MANDATORY_TLS);
    xmpp_conn_set_jid(conn, args.jid);
    if (args.password)
        xmpp_conn_set_pass(conn, args.password);
    if (args.ca)
        xmpp_conn_set_cafile(conn, args.ca);
    if (args.cert)
        xmpp_conn_set_client_cert(conn, args.cert, args.key);
    if (xmpp_connect_client(conn, args.host, (unsigned short)atoi(args.port), on_connection, ctx) != XMPP_EOK) {
        fprintf(stderr, "cannot connect\n");
        return 1;
    }
    xmpp_run(ctx);
    xmpp_conn_release(conn);
    xmpp_ctx_free(ctx);
    xmpp_shutdown();
    if (outcome == 0)
        printf("done\n");
    return outcome;
}
