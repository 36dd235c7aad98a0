/* Two threads talk TLS over a socket pair: COUNT writes of SIZE bytes, RATE in a second.
 * Prints what it did: "writes N bytes M reads R read_bytes B". RATE 0 is as fast as it goes. */
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <time.h>
#include <unistd.h>

static long reads, read_bytes;

static void *serve(void *arg)
{
	SSL *ssl = arg;
	static char buffer[1 << 20];
	int n;

	if (SSL_accept(ssl) != 1)
		exit(3);
	while ((n = SSL_read(ssl, buffer, sizeof(buffer))) > 0) {
		reads++;
		read_bytes += n;
	}
	SSL_free(ssl);
	return NULL;
}

/* socketpair(2) knows no TCP: a connection over loopback. */
static void connect_pair(int pair[2])
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(at);
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	if (bind(listener, (void *)&at, size) || listen(listener, 1) ||
	    getsockname(listener, (void *)&at, &size))
		exit(4);
	pair[0] = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(pair[0], (void *)&at, size))
		exit(5);
	pair[1] = accept(listener, NULL, NULL);
	close(listener);
}

int main(int argc, char **argv)
{
	long count = atol(argv[1]), size = atol(argv[2]), rate = atol(argv[3]), done = 0;
	SSL_CTX *client = SSL_CTX_new(TLS_client_method());
	SSL_CTX *server = SSL_CTX_new(TLS_server_method());
	char *data = malloc(size);
	struct timespec begin, now;
	pthread_t thread;
	int pair[2];
	SSL *out, *in;

	if (argc != 6 || SSL_CTX_use_certificate_file(server, argv[4], SSL_FILETYPE_PEM) != 1 ||
	    SSL_CTX_use_PrivateKey_file(server, argv[5], SSL_FILETYPE_PEM) != 1)
		return 2;
	for (unsigned long i = 0, x = 88172645463325252UL; i < (unsigned long)size; i++) {
		x ^= x << 13, x ^= x >> 7, x ^= x << 17; /* nothing that compresses */
		data[i] = (char)x;
	}
	connect_pair(pair);
	in = SSL_new(server);
	out = SSL_new(client);
	SSL_set_fd(in, pair[1]);
	SSL_set_fd(out, pair[0]);
	pthread_create(&thread, NULL, serve, in);
	if (SSL_connect(out) != 1)
		return 6;
	clock_gettime(CLOCK_MONOTONIC, &begin);
	while (done < count) {
		if (rate) {
			clock_gettime(CLOCK_MONOTONIC, &now);
			double since = (now.tv_sec - begin.tv_sec) + (now.tv_nsec - begin.tv_nsec) / 1e9;
			if (done >= since * rate) {
				usleep(500);
				continue;
			}
		}
		if (SSL_write(out, data, size) != size)
			return 7;
		done++;
	}
	clock_gettime(CLOCK_MONOTONIC, &now);
	/* closed only when all is read: unread session tickets would make it a reset */
	SSL_shutdown(out);
	shutdown(pair[0], SHUT_WR);
	pthread_join(thread, NULL);
	SSL_free(out);
	close(pair[0]);
	printf("writes %ld bytes %ld reads %ld read_bytes %ld seconds %.3f\n", done, done * size, reads,
	       read_bytes, (now.tv_sec - begin.tv_sec) + (now.tv_nsec - begin.tv_nsec) / 1e9);
	return 0;
}
