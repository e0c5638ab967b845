//! Assigns tenants to the waves of the configuration.

use stack::spec;

use super::options::Wave;

/// Deals the tenants out to waves, in the order of `waves`; `labels` holds each tenant's, in their order.
///
/// A share is one of the tenants that no earlier wave has, at least one of them. A wave that nobody is left for is
/// not returned.
pub fn assign_waves(waves: &[spec::Wave], labels: &[Vec<String>]) -> Vec<Wave> {
    let mut left: Vec<usize> = (0..labels.len()).collect();
    let mut dealt = Vec::new();
    for wave in waves {
        let places: Vec<usize> = match wave {
            spec::Wave::Label(label) => {
                left.iter().copied().filter(|&at| labels[at].contains(label)).collect()
            }
            spec::Wave::Share(percent) => {
                let count = (left.len() * usize::from(*percent)).div_ceil(100);
                left[..count].to_vec()
            }
            spec::Wave::Rest => left.clone(),
        };
        left.retain(|at| !places.contains(at));
        if !places.is_empty() {
            dealt.push(Wave { name: wave.to_string(), places });
        }
    }
    dealt
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(waves: &[spec::Wave], labels: &[Vec<String>]) -> Vec<(String, Vec<usize>)> {
        assign_waves(waves, labels).into_iter().map(|wave| (wave.name, wave.places)).collect()
    }

    #[test]
    fn labels_shares_and_the_rest_take_everybody_once() {
        let mut labels = vec![Vec::new(); 42];
        labels[7] = vec!["canary".to_owned()];
        labels[30] = vec!["beta".to_owned(), "canary".to_owned()];
        let waves = [spec::Wave::Label("canary".to_owned()), spec::Wave::Share(5), spec::Wave::Rest];
        let dealt = places(&waves, &labels);
        assert_eq!(dealt[0], ("canary".to_owned(), vec![7, 30]));
        assert_eq!(dealt[1], ("5%".to_owned(), vec![0, 1]));
        assert_eq!(dealt[2].1.len(), 38);
    }

    #[test]
    fn a_wave_for_nobody_is_left_out_and_a_share_is_at_least_one() {
        let waves = [spec::Wave::Label("canary".to_owned()), spec::Wave::Share(1), spec::Wave::Rest];
        assert_eq!(places(&waves, &[vec![], vec![]]).len(), 2);
        assert_eq!(places(&waves, &[vec![]]), [("1%".to_owned(), vec![0])]);
        assert!(places(&waves, &[]).is_empty());
    }
}
